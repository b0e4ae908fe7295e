"""Rows 1 to 23: Redis, leases and crowds of requests."""

from __future__ import annotations

from tests.faults.row import FaultRow

REDIS = (
    FaultRow(
        1,
        "Redis is killed.",
        "Warm tenants get 200 from memory. Other tenants cost at most one exchange per replica. No request fails "
        "while IMS works. Redis is used again after its return.",
        (
            "tests/faults/test_redis_under_load.py::test_a_redis_that_stops_or_dies_fails_no_request",
            "tests/e2e/test_failover.py::test_redis_gone_costs_no_error_and_one_exchange_per_tenant_and_replica",
            "tests/integration/test_redis_faults.py::test_killed_and_restarted",
        ),
        limits="Redis is down for seconds, not for ten minutes.",
    ),
    FaultRow(
        2,
        "Redis accepts connections and never answers.",
        "As row 1. A request loses at most half a second to Redis, and nothing once the circuit breaker is open.",
        (
            "tests/faults/test_redis_under_load.py::test_a_redis_that_stops_or_dies_fails_no_request",
            "tests/integration/test_redis_faults.py::test_frozen",
            "tests/integration/test_redis_faults.py::test_frozen_for_long",
            "tests/integration/test_redis_faults.py::test_one_try_at_a_time_while_away",
        ),
    ),
    FaultRow(
        3,
        "Each answer of Redis takes 200 ms, which a call has time for, or 300 ms, which it has not.",
        "Warm tenants are answered from memory as before; cold tenants get a token without the shared cache, or more"
        " slowly. Purges reach all replicas.",
        (
            "tests/faults/test_redis_link.py::test_a_slow_redis_slows_no_warm_request",
            "tests/faults/test_redis_link.py::test_a_redis_just_within_its_deadline_is_used_and_delays_no_warm_request",
        ),
        limits=(
            "A new connection needs several answers. From about 80 ms for each, a replica uses Redis only over"
            " connections that it has, or not at all; `doctor` warns from 50 ms."
        ),
    ),
    FaultRow(
        4,
        "The connection to Redis breaks in the middle of an answer.",
        "A miss or a cache error, never another value. The pool works afterwards.",
        (
            "tests/faults/test_redis_link.py::test_a_torn_answer_is_never_another_tenants_token",
            "tests/integration/test_redis_purges.py::test_killed_connections",
        ),
    ),
    FaultRow(
        5,
        "Redis fails over to a replica that lacks the last writes, leases included.",
        "A second exchange is tolerated. No caller gets an error, and no purged token comes back.",
        (
            "tests/faults/test_redis_failover.py::test_a_failover_that_loses_writes_fails_no_request",
            "tests/simulation/test_schedules.py::test_no_schedule_violates_an_invariant",
            "tests/unit/service/test_purges.py::test_a_lost_epoch_is_not_used_again",
            "tests/integration/test_redis_cache.py::test_epoch_outlives_a_flush",
        ),
    ),
    FaultRow(
        6,
        "A demoted primary refuses writes.",
        "It is still read. Once a primary is there again, writes succeed.",
        (
            "tests/integration/test_redis_faults.py::test_read_only_replica",
            (
                "tests/integration/test_redis_reasons.py::"
                "test_a_real_replica_is_read_and_reported_and_never_opens_the_circuit"
            ),
            "tests/e2e/test_read_only_redis.py::test_tokens_are_vended_and_kept_in_memory",
            "tests/e2e/test_read_only_redis.py::test_what_the_primary_has_is_read",
        ),
    ),
    FaultRow(
        7,
        "Redis returns damaged bytes: a flipped bit, a shorter value, an empty one.",
        "A miss that is counted. The damaged value is replaced, and callers get 200.",
        (
            "tests/faults/test_redis_under_load.py::test_damaged_values_fail_no_request_and_give_no_wrong_token",
            "tests/integration/test_redis_cache.py::test_every_flipped_bit_is_noticed",
            "tests/integration/test_redis_cache.py::test_truncated",
            "tests/integration/test_redis_cache.py::test_discarding_keeps_a_good_value",
        ),
    ),
    FaultRow(
        8,
        "The values of two tenants are swapped in Redis.",
        "Neither opens, and no caller gets the token of another org.",
        (
            "tests/faults/test_redis_under_load.py::test_damaged_values_fail_no_request_and_give_no_wrong_token",
            "tests/integration/test_redis_cache.py::test_swapped_tenants",
            "tests/unit/shared_cache/test_sealing.py::test_a_value_under_another_name_does_not_open",
        ),
    ),
    FaultRow(
        9,
        "A key in Redis has another type, or a value of another format.",
        "A miss. The next write replaces it, unless a newer release wrote it.",
        (
            "tests/faults/test_redis_under_load.py::test_damaged_values_fail_no_request_and_give_no_wrong_token",
            "tests/integration/test_redis_cache.py::test_wrong_type",
            "tests/integration/test_redis_cache.py::test_older_format_is_replaced",
            "tests/integration/test_redis_cache.py::test_newer_format_is_not_touched",
        ),
    ),
    FaultRow(
        10,
        "An old value is restored from a backup, with a long life in Redis.",
        "The expiry inside the sealed record decides: the old token is not answered.",
        (
            "tests/faults/test_redis_restored.py::test_a_restored_record_does_not_outlive_its_token",
            "tests/unit/service/test_shared_exchange.py::test_an_expired_record_in_the_shared_cache_is_a_miss",
            "tests/unit/shared_cache/test_sealing.py::test_an_edited_header_does_not_open",
        ),
    ),
    FaultRow(
        11,
        "FLUSHALL under load.",
        "No request fails, warm tenants cost no exchange, and a cold one costs at most one.",
        (
            "tests/faults/test_redis_under_load.py::test_a_flush_fails_no_request_and_costs_at_most_one_exchange_each",
            "tests/unit/service/test_purges.py::test_a_shared_cache_that_lost_everything_costs_no_warm_token",
            "tests/integration/test_redis_purges.py::test_flushed",
        ),
    ),
    FaultRow(
        12,
        "Redis is out of memory and refuses writes.",
        "What is stored is read, new tokens are answered from memory, and each refused write is counted.",
        (
            "tests/integration/test_redis_faults.py::test_out_of_memory",
            "tests/unit/service/test_shared_exchange.py::test_redis_that_goes_away_before_the_write_costs_nothing",
        ),
    ),
    FaultRow(
        13,
        "The broker's password or rights in Redis are taken away.",
        "As row 1, with its own reason; no password is in a log, an error or a repr.",
        (
            "tests/integration/test_redis_faults.py::test_lost_password",
            "tests/integration/test_redis_faults.py::test_denied_keys",
            "tests/e2e/test_dependency_checks.py::test_a_start_says_why_redis_cannot_be_used_and_serves",
        ),
    ),
    FaultRow(
        14,
        "More calls at once than the pool has connections.",
        "They wait for a limited time, and no call fails because of the pool.",
        (
            "tests/integration/test_redis_cache.py::test_burst_larger_than_the_pool",
            "tests/e2e/test_concurrency.py::test_fifty_orgs_with_sixty_requests_each_cost_fifty_exchanges",
        ),
        limits="300 calls at once at the adapter, 3,000 requests at three replicas.",
    ),
    FaultRow(
        15,
        "Calls to Redis are cancelled at random moments.",
        "Answers never cross, and connections return to the pool.",
        (
            "tests/integration/test_redis_cache.py::test_cancelled_reads_never_cross",
            "tests/integration/test_redis_faults.py::test_cancelled_acquire",
            "tests/integration/test_redis_faults.py::test_cancellation_is_never_lost",
        ),
        limits="1,200 calls are cancelled; an hour of cancellations is not tested.",
    ),
)

BURSTS = (
    FaultRow(
        16,
        "1,000 requests at once for one cold tenant, at three replicas.",
        "All get the same token, from one exchange.",
        (
            "tests/e2e/test_concurrency.py::test_a_thousand_first_requests_over_three_replicas_cost_one_exchange",
            (
                "tests/unit/service/test_shared_exchange.py::"
                "test_without_redis_each_replica_exchanges_once_and_no_caller_sees_an_error"
            ),
        ),
    ),
    FaultRow(
        17,
        "1,000 tenants are cold at once.",
        "A limited number of exchanges run at once. The queue is bounded: further requests get 503 with Retry-After.",
        (
            "tests/e2e/test_bulkheads.py::test_a_thousand_tenants_that_hang_leave_the_others_served",
            "tests/e2e/test_bulkheads.py::test_no_more_exchanges_run_at_once_than_allowed",
            "tests/unit/service/test_exchange_places.py::test_the_queue_has_a_bound_and_each_wait_an_end",
            "tests/unit/service/test_vend.py::test_many_tenants_at_once_each_cost_one_exchange",
        ),
    ),
    FaultRow(
        18,
        "A replica is killed while it holds the lease.",
        "Another takes over when the lease ends; all callers get 200 within 15 s.",
        (
            "tests/e2e/test_failover.py::test_a_killed_lease_holder_costs_the_others_one_more_exchange",
            "tests/contract/test_lease.py::TestLease::test_a_lease_expires_by_itself",
        ),
    ),
    FaultRow(
        19,
        "A replica is frozen until after its lease has expired, and then writes.",
        "Its older token does not replace the later one, and it does not release the lease of its successor.",
        (
            "tests/faults/test_frozen_replica.py::test_a_replica_that_stood_still_replaces_no_later_token",
            "tests/unit/service/test_shared_exchange.py::test_a_paused_holder_does_not_replace_a_later_token",
            "tests/contract/test_lease.py::TestLease::test_a_former_holder_cannot_touch_its_successors_lease",
            "tests/contract/test_token_cache.py::TestTokenCache::test_a_token_that_expires_no_later_is_refused",
        ),
        limits="A real replica finds that its exchange took too long; the late write itself is tested with fakes.",
    ),
    FaultRow(
        20,
        "Redis grants a lease, but its reply is lost.",
        "The replica recognises its own lease at the next try and is not locked out.",
        (
            "tests/integration/test_redis_faults.py::test_acquire_whose_answer_was_lost",
            "tests/integration/test_redis_faults.py::test_cancelled_acquire",
        ),
    ),
    FaultRow(
        21,
        "A tenant is purged or rotated while an exchange is under way.",
        "A token of the old epoch is neither stored nor answered after the purge.",
        (
            "tests/e2e/test_purge_report.py::test_a_purge_of_a_token_that_no_one_holds_yet_is_not_lost",
            "tests/unit/service/test_purges.py::test_a_purge_during_an_exchange_voids_its_token",
            "tests/unit/service/test_purges.py::test_a_purge_between_the_answer_of_ims_and_the_write_voids_the_token",
        ),
    ),
    FaultRow(
        22,
        "All tokens were created in the same second.",
        "Their refreshes spread over more than two hours, at an even rate.",
        ("tests/faults/test_mass_expiry.py::test_tokens_of_one_second_are_refreshed_over_two_hours",),
        limits="The clock is simulated.",
    ),
    FaultRow(
        23,
        "No request for a tenant arrives for days, then one does.",
        "Its token was refreshed meanwhile, if it was used within the keep-warm window.",
        (
            "tests/unit/service/test_keeper.py::test_a_used_token_is_refreshed_though_no_caller_asks",
            "tests/unit/service/test_keeper.py::test_a_token_that_was_not_used_within_the_window_is_not_refreshed",
            "tests/e2e/test_keep_warm.py::test_an_outage_finds_the_token_of_a_silent_tenant_renewed",
        ),
    ),
)
