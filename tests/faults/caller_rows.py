"""Rows 67 to 86: callers, leaks and long runs."""

from __future__ import annotations

from tests.faults.row import FaultRow

_FORGED = "tests/unit/adapters/test_jwt_verifier.py::test_every_forged_credential_is_refused"
_FORGED_AT_THE_DOOR = "tests/e2e/test_forged.py::test_every_forged_credential_gets_the_same_401"

CALLERS = (
    FaultRow(
        67,
        "The Authorization header is missing, malformed, or there are two.",
        "401 with WWW-Authenticate and one constant text, on every path.",
        (
            "tests/unit/api/test_caller_gate.py::test_no_credential_or_several_are_unauthenticated",
            "tests/unit/api/test_door.py::test_two_authorization_headers_never_take_the_warm_path",
            "tests/unit/api/test_problems.py::test_each_error_has_its_status_code_and_headers",
            _FORGED_AT_THE_DOOR,
        ),
    ),
    FaultRow(
        68,
        "A JWT with `alg: none`, HS256 with the public key, or an unknown `alg`.",
        "401 with the constant text.",
        (_FORGED, _FORGED_AT_THE_DOOR),
    ),
    FaultRow(
        69,
        "A JWT that has expired, is not valid yet, or has invalid times.",
        "401, never a server error.",
        (_FORGED, _FORGED_AT_THE_DOOR, "tests/unit/adapters/test_jwt_verifier.py::test_the_leeway_ends"),
    ),
    FaultRow(
        70,
        "A JWT for another audience, issuer or type, with `crit`, or with a key in its header.",
        "401, and no request to any URL in the header.",
        (
            _FORGED,
            _FORGED_AT_THE_DOOR,
            "tests/unit/adapters/test_jwt_verifier.py::test_a_key_that_the_header_names_is_neither_followed_nor_used",
        ),
    ),
    FaultRow(
        71,
        "A JWT with deep nesting, 1 MB, repeated claims, bytes that are not UTF-8, or junk.",
        "401 for less than a millisecond of CPU time, and no other exception.",
        (
            "tests/unit/adapters/test_jwt_fuzz.py::test_random_bytes_prove_nothing",
            "tests/unit/adapters/test_jwt_fuzz.py::test_a_changed_token_proves_nothing",
            "tests/unit/adapters/test_jwt_fuzz.py::test_signed_claims_prove_their_own_subject_or_nothing",
            "tests/unit/adapters/test_jwt_verifier.py::test_a_forged_credential_costs_little",
            "tests/unit/adapters/test_jwt_verifier.py::test_a_large_token_within_the_bound_is_accepted",
            _FORGED,
        ),
        limits="800 generated tokens per run, not a million.",
    ),
    FaultRow(
        72,
        "An issuer rotates its keys; someone sends unknown key ids.",
        "The first token of the new key is accepted. Unknown ids cost one fetch per 30 s.",
        (
            "tests/integration/test_jwks.py::test_a_new_key_is_accepted_at_once",
            "tests/integration/test_jwks.py::test_a_flood_of_unknown_keys_costs_one_fetch",
            "tests/integration/test_jwks.py::test_a_flood_does_not_delay_good_tokens",
            "tests/kubernetes/test_issuer_keys.py::test_a_rotation_fails_no_request",
        ),
    ),
    FaultRow(
        73,
        "An issuer's keys cannot be fetched, or the answer is not a key set.",
        "The last good set is used for 24 h; then 503 `identity_unavailable`, not 401.",
        (
            "tests/integration/test_jwks.py::test_an_outage_keeps_the_last_good_set_for_a_day",
            "tests/integration/test_jwks.py::test_a_new_key_during_an_outage_is_unavailable",
            "tests/integration/test_jwks_sources.py::test_a_bad_answer_keeps_the_old_set",
            "tests/unit/adapters/test_jwk_set.py::test_an_unusable_key_is_ignored",
            "tests/unit/adapters/test_jwk_set.py::test_anything_but_a_set_is_refused",
        ),
    ),
    FaultRow(
        74,
        "A valid caller asks for an org that it may not have, or that does not exist.",
        "The same 403, byte for byte except the request id, and nothing is looked up.",
        (
            "tests/e2e/test_forged.py::test_a_forbidden_org_and_an_unknown_one_look_the_same",
            "tests/unit/api/test_token.py::test_unknown_and_forbidden_orgs_get_identical_answers",
        ),
        limits="Response times are not compared statistically; nothing is looked up that could make them differ.",
    ),
    FaultRow(
        75,
        "An org with line ends, NUL, path characters, look-alikes, 10 kB, or given twice.",
        "400. The value is not reflected, and becomes neither a key, a path nor a log line.",
        (
            "tests/unit/api/test_parameters.py::test_a_malformed_org_is_refused_and_not_repeated",
            "tests/unit/api/test_token.py::test_a_malformed_org_is_400_and_not_reflected",
            "tests/unit/api/test_parameters.py::test_any_bytes_are_parsed_or_refused",
            "tests/unit/adapters/test_audit_log.py::test_a_field_cannot_break_its_line",
        ),
    ),
    FaultRow(
        76,
        "Someone guesses API keys.",
        "Each key has 256 random bits, all refusals look the same, and an address that fails often has to wait.",
        (
            "tests/unit/domain/test_api_key.py::test_a_new_key_needs_256_random_bits",
            "tests/unit/domain/test_api_key.py::test_anything_else_proves_nothing",
            "tests/unit/api/test_failing_sources.py::test_an_address_with_too_many_refused_credentials_waits",
            "tests/integration/test_refused_at_connection.py::test_refused_credentials_of_an_address_are_limited",
            "tests/integration/test_refused_at_connection.py::test_forged_credentials_leave_nothing_behind",
        ),
        limits="The constant-time comparison is not measured: on a shared machine, noise would hide the result.",
    ),
    FaultRow(
        77,
        "One caller or tenant floods the broker.",
        "The caller gets 429 with Retry-After; others are not affected.",
        (
            "tests/unit/api/test_warm.py::test_one_caller_over_its_limit_does_not_affect_others",
            "tests/unit/api/test_frame.py::test_a_request_over_the_limit_is_one_event",
            "tests/unit/api/test_oauth2.py::test_a_client_over_its_limit_learns_how_long_to_wait",
            "tests/e2e/test_vend.py::test_hanging_tenants_slow_no_other_tenant",
        ),
    ),
    FaultRow(
        78,
        "Headers of proxies are forged.",
        "They prove nothing and change no answer.",
        ("tests/e2e/test_vend.py::test_headers_of_proxies_prove_nothing",),
    ),
)

LEAKS = (
    FaultRow(
        79,
        "Marked secrets go through every store and every failure, with DEBUG logging.",
        "They appear only in the right answer.",
        (
            "tests/e2e/test_canary.py::test_no_secret_is_found_where_it_does_not_belong",
            "tests/e2e/test_tracing.py::test_secrets_and_orgs_are_in_no_span_and_no_log",
            "tests/kubernetes/test_secrets.py::test_no_token_leaks",
        ),
    ),
    FaultRow(
        80,
        "An unexpected exception.",
        "A constant 500, and one log record with type and request id but without text or locals. The process lives.",
        (
            "tests/unit/api/test_door.py::test_an_unexpected_error_is_a_constant_500",
            "tests/unit/adapters/test_json_logs.py::test_an_exception_is_logged_with_type_and_stack_only",
            "tests/unit/process/test_supervisor.py::test_a_task_that_fails_is_reported_by_its_type_and_run_again",
            "tests/unit/service/test_vend.py::test_an_unexpected_error_in_a_refresh_is_backed_off_and_reported",
        ),
        limits="Tested at the places where errors can arrive, not at each `await`.",
    ),
    FaultRow(
        81,
        "Nothing reads the log or the audit log, or the disk is full.",
        "Requests go on, and lost lines are counted; with `block`, requests get 503 instead.",
        (
            "tests/integration/test_audit_overflow.py::test_the_setting_says_what_a_full_audit_log_means",
            "tests/unit/adapters/test_json_logs.py::test_a_full_queue_loses_and_counts",
            "tests/unit/adapters/test_audit_log.py::test_a_log_that_does_not_block_is_never_full",
            "tests/unit/adapters/test_audit_chain.py::test_a_full_disk_is_reported",
        ),
    ),
    FaultRow(
        82,
        "Someone sends an endless number of invented org names.",
        "No metric has a label from a request, and the number of series is bounded.",
        (
            "tests/unit/adapters/test_prometheus.py::test_no_label_contains_a_secret_or_an_id",
            "tests/unit/adapters/test_prometheus.py::test_series_and_memory_stay_bounded",
        ),
    ),
    FaultRow(
        83,
        "Random faults for days.",
        "All invariants hold; memory, descriptors, tasks, threads and keys in Redis stay flat.",
        (
            "tests/faults/test_soak.py::test_random_faults_break_no_invariant",
            "tests/faults/test_soak_check.py::test_a_broken_invariant_is_found",
            "tests/faults/test_soak_check.py::test_what_is_allowed_is_not_a_violation",
            "tests/faults/test_soak_check.py::test_a_secret_is_found_wherever_it_is",
            "tests/faults/test_soak_check.py::test_a_slope_is_that_of_the_line_through_the_values",
            "tests/faults/test_soak_check.py::test_a_seed_gives_the_same_faults_again",
            "tests/faults/test_soak_check.py::test_a_history_is_the_same_after_it_was_written",
        ),
        limits="A minute, too short to measure growth; `make faults-soak SECONDS=… SEED=…` runs as long as you like.",
    ),
    FaultRow(
        84,
        "Any order of reads, leases, exchanges, writes and purges.",
        "No order breaks an invariant, and a seed replays an order.",
        (
            "tests/simulation/test_schedules.py::test_no_schedule_violates_an_invariant",
            "tests/simulation/test_schedules.py::test_a_seed_replays",
            "tests/simulation/test_planted_bugs.py::test_a_planted_bug_is_found",
        ),
        limits="400 seeds; `make schedules` runs 100,000.",
    ),
    FaultRow(
        85,
        "A name server does not answer.",
        "Warm tenants, and hosts that need no name, are served; a request that needs the name ends within 15 s.",
        (
            "tests/faults/test_name_server.py::test_a_name_server_that_hangs_costs_other_hosts_nothing",
            "tests/unit/process/test_name_lookups.py::test_a_name_that_hangs_holds_one_thread",
        ),
    ),
    FaultRow(
        86,
        "Under load, the client certificates for Vault and Redis are replaced one file at a time, and both servers "
        "get new certificates, at last of another authority.",
        "The last pair is presented until both files match, which a log line says; then the new one. No request fails. "
        "While the broker does not trust the servers, warm tenants are served; a new bundle needs no restart.",
        (
            "tests/faults/test_certificate_pairs.py::test_pairs_replaced_one_file_at_a_time_cost_no_request",
            "tests/faults/test_certificate_pairs.py::test_new_certificates_of_the_servers_cost_no_request",
            "tests/integration/test_vault_certificate.py::test_files_replaced_one_at_a_time_under_load",
            "tests/integration/test_redis_certificate.py::test_files_replaced_one_at_a_time_under_load",
        ),
    ),
)
