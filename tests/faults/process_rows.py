"""Rows 51 to 66: processes, the platform, policy and configuration."""

from __future__ import annotations

from tests.faults.row import FaultRow

PROCESS = (
    FaultRow(
        51,
        "SIGTERM under load, one replica after the other.",
        "No request fails. What is in flight is answered, an exchange is finished and stored, its lease is released.",
        (
            "tests/e2e/test_rolling_restarts.py::test_rolling_restarts_fail_no_request",
            "tests/e2e/test_failover.py::test_sigterm_during_an_exchange_finishes_the_request",
            "tests/e2e/test_failover.py::test_a_second_signal_tears_nothing",
            "tests/integration/test_http_connections.py::test_the_next_answer_on_an_idle_connection_announces_the_end",
        ),
        limits="6 restarts, or as many as `RESTARTS` says.",
    ),
    FaultRow(
        52,
        "SIGTERM while IMS or a file hangs.",
        "The process ends within its grace time, and waiting requests get a response that the contract allows.",
        (
            "tests/e2e/test_pod.py::test_the_end_stays_within_the_grace_period",
            "tests/unit/process/test_single_flight.py::test_the_end_answers_waiters_of_a_hanging_call_with_overloaded",
            "tests/e2e/test_stuck.py::test_a_thread_that_hangs_does_not_hold_up_the_end",
        ),
    ),
    FaultRow(
        53,
        "SIGKILL, or the kernel ends the process.",
        "The other replicas go on, the lease ends, and nothing is half-written.",
        (
            "tests/e2e/test_failover.py::test_a_killed_lease_holder_costs_the_others_one_more_exchange",
            "tests/e2e/test_audit.py::test_a_log_outlives_kill_and_rotation",
            "tests/simulation/test_schedules.py::test_no_schedule_violates_an_invariant",
        ),
    ),
    FaultRow(
        54,
        "Many clients close their connections during an exchange.",
        "The exchange is finished once and stored. Later requests get its token.",
        (
            "tests/faults/test_clients_that_leave.py::test_an_exchange_without_clients_is_finished_and_kept",
            "tests/unit/service/test_vend.py::test_if_all_waiters_are_cancelled_the_token_is_still_stored",
            "tests/unit/process/test_single_flight.py::test_cancelling_one_of_a_hundred_waiters_fails_no_other",
        ),
        limits="200 clients at a real replica.",
    ),
    FaultRow(
        55,
        "Redis, Vault and IMS are all down when a replica starts.",
        "It starts, is live and ready, answers 503, and serves once they are up.",
        (
            "tests/faults/test_start_without_anything.py::test_a_replica_starts_with_everything_down",
            "tests/integration/test_vault_renewal.py::TestRenewal::test_start_before_vault",
        ),
    ),
    FaultRow(
        56,
        "Work that could block the event loop: parsing keys, reading files.",
        "It runs in threads, and a key is parsed once per generation. The lag of the loop is a metric, with an alert.",
        (
            "tests/unit/adapters/test_jose_signer.py::test_fifty_cold_keys_take_less_than_a_second",
            "tests/unit/adapters/test_jose_signer.py::test_concurrent_first_uses_parse_once",
            "tests/unit/adapters/test_policy_file.py::test_loading_does_not_block_the_loop",
            "tests/unit/domain/test_credential_spellings.py::test_text_full_of_first_lines_is_searched_once",
            "tests/unit/process/test_loop_lag.py::test_the_longest_delay_is_kept_for_a_window_and_then_forgotten",
            "tests/e2e/test_loop_lag_metric.py::test_a_replica_that_stood_still_reports_it",
        ),
    ),
    FaultRow(
        57,
        "File descriptors or threads run out.",
        "Open connections are served, and new ones are accepted again once some are free.",
        (
            "tests/faults/test_descriptors.py::test_a_replica_without_descriptors_recovers",
            "tests/unit/process/test_own_threads.py::test_more_work_than_may_wait_fails_at_once",
        ),
    ),
    FaultRow(
        58,
        "More requests than the broker can serve.",
        "Queues are bounded: requests that do not fit get 503 with Retry-After, and warm requests are answered.",
        (
            "tests/e2e/test_bulkheads.py::test_a_thousand_tenants_that_hang_leave_the_others_served",
            "tests/unit/api/test_door.py::test_requests_beyond_the_limit_are_refused_but_the_replica_is_alive",
            "tests/unit/process/test_single_flight.py::test_a_call_takes_a_limited_number_of_waiters",
        ),
        limits="The throughput at ten times the peak load is not compared with the peak.",
    ),
    FaultRow(
        59,
        "Slow, endless or enormous requests.",
        "Deadlines and limits end them with 408, 431 or 400; other clients are served.",
        (
            "tests/integration/test_http_bounds.py::test_a_slow_request_head_times_out",
            "tests/integration/test_http_bounds.py::test_a_header_without_end_is_cut_off",
            "tests/integration/test_http_bounds.py::test_a_head_over_the_bounds_is_refused",
            "tests/integration/test_http_connections.py::test_a_client_that_does_not_read_is_cut_off",
            "tests/e2e/test_forged.py::test_hostile_bytes_are_never_a_server_error",
            "tests/e2e/test_pod.py::test_slow_handshakes_are_cut_off",
        ),
    ),
    FaultRow(
        60,
        "All callers retry at once after an outage.",
        "A failing tenant costs IMS a handful of calls, and a storm of reports costs one.",
        (
            (
                "tests/unit/service/test_vend.py::"
                "test_many_requests_for_a_failing_tenant_without_a_token_cost_few_exchanges"
            ),
            "tests/e2e/test_purge_report.py::test_a_storm_of_reports_costs_one_exchange",
            "tests/e2e/test_failover.py::test_a_retry_after_from_ims_binds_all_replicas",
        ),
    ),
    FaultRow(
        61,
        "Replicas of two releases share one Redis.",
        "Both read the older record. A record of a later release is a miss, and is not overwritten.",
        (
            "tests/contract/test_stored_records.py::test_a_record_of_the_first_release_is_read",
            "tests/contract/test_stored_records.py::test_scripts_of_the_first_release_can_read_the_header",
            "tests/contract/test_stored_records.py::test_a_record_of_a_later_release_is_not_removed",
            "tests/integration/test_redis_cache.py::test_newer_format_is_not_touched",
        ),
        limits="One build and stored records of the first release, not two builds.",
    ),
)

POLICY = (
    FaultRow(
        62,
        "The policy file is bad: not YAML, a bomb, a wrong type, empty, too large.",
        "It is refused as a whole. The last good one stays in force, and an event and a metric report it.",
        (
            "tests/unit/service/test_reload.py::test_a_bad_file_keeps_the_last_good_policy_and_is_reported_once",
            "tests/unit/adapters/test_policy_file.py::test_a_bad_file_raises_until_it_is_good",
            "tests/unit/adapters/test_policy_file.py::test_more_than_16_mib_is_refused",
            "tests/unit/adapters/test_strict_yaml.py::test_misleading_yaml_is_refused",
            "tests/unit/domain/test_policy_document.py::test_a_defect_is_named_by_its_place",
            "tests/unit/adapters/test_prometheus.py::test_a_refused_policy_is_stale_until_one_is_loaded",
        ),
    ),
    FaultRow(
        63,
        "The policy is half-written, or a ConfigMap is swapped.",
        "A file is loaded only once it no longer changes, and as a whole.",
        (
            "tests/unit/adapters/test_policy_file.py::test_a_half_written_file_is_waited_for",
            "tests/unit/adapters/test_policy_file.py::test_a_file_that_never_settles_is_refused",
            "tests/e2e/test_pod.py::test_a_policy_in_a_config_map",
        ),
    ),
    FaultRow(
        64,
        "A caller's right is taken away.",
        "It is gone on every replica within 5 s, also for warm tokens and for requests that wait.",
        (
            "tests/e2e/test_revocation.py::test_a_right_taken_away_is_gone_within_five_seconds",
            "tests/e2e/test_vend.py::test_policy_edits_take_effect_on_all_replicas",
            "tests/unit/api/test_frame.py::test_a_denial_while_waiting_is_obeyed",
        ),
    ),
    FaultRow(
        65,
        "The key ring is changed, missing or wrong.",
        "The new key seals and the old one still opens. A missing ring stops startup; a wrong one costs an exchange.",
        (
            "tests/e2e/test_key_ring.py::test_a_key_is_replaced_under_load",
            "tests/e2e/test_key_ring.py::test_a_replica_that_lacks_the_key_costs_one_exchange",
            "tests/e2e/test_key_ring.py::test_a_bad_ring_changes_nothing",
            "tests/e2e/test_cli.py::test_bad_key_ring",
            "tests/integration/test_redis_cache.py::test_wrong_key",
        ),
    ),
    FaultRow(
        66,
        "A setting is misspelt, or IMS is plain HTTP.",
        "The broker does not start, and names the variable but not the value.",
        (
            "tests/e2e/test_cli.py::test_bad_setting",
            "tests/unit/settings/test_settings.py::test_an_unknown_variable_is_named",
            "tests/unit/settings/test_settings.py::test_an_error_names_the_variable_and_never_shows_the_value",
        ),
    ),
)
