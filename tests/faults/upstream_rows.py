"""Rows 24 to 50: Vault, IMS and time."""

from __future__ import annotations

from tests.faults.row import FaultRow

VAULT = (
    FaultRow(
        24,
        "Vault is sealed.",
        "Warm tenants get 200, others 503 `vault_unavailable` with Retry-After. Vault is asked once a second at most.",
        (
            "tests/e2e/test_failover.py::test_vault_and_ims_down_leave_warm_tenants_unaffected",
            "tests/integration/test_vault.py::TestSeal::test_sealed",
            "tests/unit/adapters/test_vault_attempts.py::test_a_vault_that_is_down_is_asked_once_a_second",
        ),
        limits="Documents are not cached, so a cold tenant needs Vault.",
    ),
    FaultRow(
        25,
        "The broker's Vault token is revoked.",
        "One login for all waiting calls, and all of them succeed.",
        (
            "tests/integration/test_vault.py::TestRefusedToken::test_one_login_for_all",
            "tests/integration/test_vault.py::TestLogin::test_refused_logins_are_not_repeated_at_once",
        ),
    ),
    FaultRow(
        26,
        "The Vault token cannot be renewed, or reaches its maximum TTL.",
        "The broker logs in again before the token expires, and no read is refused.",
        (
            "tests/integration/test_vault_renewal.py::TestRenewal::test_at_two_thirds",
            "tests/integration/test_vault_renewal.py::TestRenewal::test_end_of_its_life",
            "tests/integration/test_vault_renewal.py::TestRenewal::test_token_that_cannot_be_renewed",
        ),
        limits="Two token lifetimes, not ten.",
    ),
    FaultRow(
        27,
        "A secret is rotated between reading and presenting it.",
        "One re-read and one retry; no request fails.",
        (
            "tests/unit/service/test_mint.py::test_a_document_rotated_between_reading_and_presenting_is_read_once_more",
            "tests/unit/service/test_mint.py::test_a_document_that_is_rotated_again_and_again_is_retried_once",
            "tests/e2e/test_rotation.py::test_kind_and_secret_change_under_load_without_a_failure",
        ),
    ),
    FaultRow(
        28,
        "A document is defective: no key, a bad PEM, a key of another type.",
        "Only this tenant fails. The error names the field, and shows no part of the document.",
        (
            "tests/unit/adapters/test_jose_signer.py::test_an_unusable_key_names_its_field",
            "tests/unit/domain/test_credential.py::TestDocumentDefects::test_jwt",
            "tests/e2e/test_canary.py::test_no_secret_is_found_where_it_does_not_belong",
        ),
        limits="A defect is not remembered: a repaired document works at once.",
    ),
    FaultRow(
        29,
        "Vault's policy denies one org, or its document is deleted.",
        "Only this tenant gets an error, which names the cause. It causes no new login.",
        (
            "tests/integration/test_vault.py::TestPolicy::test_no_new_login",
            "tests/integration/test_vault.py::TestVersions::test_deleted",
            "tests/unit/adapters/test_vault_attempts.py::test_refusals_do_not_open_the_breaker",
        ),
    ),
    FaultRow(
        30,
        "Vault hangs, or sends one byte at a time.",
        "A call ends at its deadline. It blocks only Vault's own threads, and other names are still resolved.",
        (
            "tests/integration/test_vault_faults.py::TestHungVault::test_deadline",
            "tests/integration/test_vault_faults.py::TestHungVault::test_its_threads_are_free_again",
            "tests/integration/test_vault_faults.py::TestHungVault::test_names_are_still_resolved",
            "tests/integration/test_vault_faults.py::TestHungVault::test_saturation",
            "tests/e2e/test_failover.py::test_with_vault_frozen_no_caller_waits_longer_than_15_seconds",
        ),
    ),
    FaultRow(
        31,
        "Vault redirects to another host.",
        "The redirect is refused, and the token is not sent there.",
        ("tests/integration/test_vault_faults.py::TestRequest::test_redirect",),
    ),
    FaultRow(
        32,
        "Vault's certificate is not trusted.",
        "Nothing is sent. The error says why, without a secret.",
        (
            "tests/integration/test_vault_answers.py::TestCertificate::test_untrusted",
            "tests/integration/test_vault_certificate.py::test_a_certificate_of_another_authority_is_refused",
        ),
        limits="Warm tenants without Vault: row 24.",
    ),
    FaultRow(
        33,
        "The broker's own service-account token is replaced.",
        "The file is read at each login, so that the next one succeeds.",
        (
            "tests/integration/test_vault_kubernetes.py::test_the_token_file_is_read_at_each_login",
            "tests/kubernetes/test_vault_login.py::test_the_file_is_read_at_each_login",
        ),
    ),
)

IMS = (
    FaultRow(
        34,
        "IMS answers 5xx for hours.",
        "With tokens of 24 h, warm tenants get 200 for 10.6 h; retries back off to five minutes; cold tenants get 503.",
        (
            (
                "tests/unit/service/test_keeper.py::"
                "test_an_outage_of_10_6_hours_is_not_noticed_by_a_tenant_that_asked_long_before"
            ),
            "tests/unit/service/test_vend.py::test_an_outage_of_ten_hours_affects_no_caller_and_costs_few_exchanges",
            "tests/unit/service/test_backoff.py::test_the_wait_doubles_up_to_five_minutes",
            "tests/e2e/test_expiry.py::test_a_token_past_its_end_is_not_served_even_when_ims_is_down",
        ),
        limits="The hours are simulated; with real processes a token lives for seconds.",
    ),
    FaultRow(
        35,
        "IMS cannot be reached, or accepts connections and never answers.",
        "Warm tenants are answered at once; cold ones get an error within 15 s, and at once when the breaker is open.",
        (
            "tests/e2e/test_failover.py::test_with_ims_frozen_no_caller_waits_longer_than_15_seconds",
            "tests/integration/test_ims_breaker.py::test_an_ims_host_that_is_away_is_not_asked_by_every_request",
            "tests/integration/test_ims_hostile.py::test_a_closed_port_is_an_outage",
        ),
    ),
    FaultRow(
        36,
        "IMS sends its answer a byte at a time.",
        "The deadline of the exchange ends it, and its connection is free again.",
        (
            "tests/integration/test_ims_hostile.py::test_a_slow_server_costs_at_most_the_deadline",
            "tests/faults/test_ims_floods.py::test_a_byte_a_second_costs_no_other_tenant",
            "tests/integration/test_ims_hostile.py::test_hanging_tenants_do_not_block_another",
        ),
    ),
    FaultRow(
        37,
        "IMS answers 429 with a Retry-After: seconds, a date, nonsense, too large, negative.",
        "No replica asks for this credential before that time, at most an hour. Callers get 503 with the time left.",
        (
            "tests/e2e/test_failover.py::test_a_retry_after_from_ims_binds_all_replicas",
            "tests/integration/test_ims.py::test_a_retry_after_of_ims_is_passed_on",
            "tests/integration/test_ims_hostile.py::test_retry_after_may_be_a_date",
            "tests/unit/adapters/test_ims_answers.py::test_every_form_of_retry_after_is_read",
            "tests/unit/service/test_shared_exchange.py::test_a_delay_that_ims_asks_for_binds_all_replicas",
        ),
    ),
    FaultRow(
        38,
        "IMS refuses a credential.",
        "The document is read once more, and the refusal is cached for 60 s. The old token is used until it expires.",
        (
            "tests/unit/service/test_mint.py::test_a_dead_credential_costs_ims_two_calls_a_minute",
            "tests/unit/service/test_mint.py::test_a_changed_document_or_a_purge_ends_the_wait_at_once",
            "tests/e2e/test_rotation.py::test_a_rejected_credential_is_distinguished_from_an_outage",
        ),
    ),
    FaultRow(
        39,
        "IMS answers nonsense: HTML, nothing, a gzip bomb, a gigabyte, deep nesting, NaN, 5,000 digits.",
        "502 `bad_upstream_response`, without any text of the answer. Memory stays flat, others notice nothing, and no"
        " parser error escapes.",
        (
            "tests/integration/test_ims_hostile.py::test_nonsense_is_a_bad_upstream_response",
            "tests/integration/test_ims_hostile.py::test_a_gzip_bomb_costs_no_memory",
            "tests/integration/test_ims_hostile.py::test_an_endless_body_is_cut_off",
            "tests/integration/test_ims_hostile.py::test_only_a_few_short_interim_answers_are_read",
            "tests/faults/test_ims_floods.py::test_a_gigabyte_costs_little_memory_and_no_other_tenant",
        ),
    ),
    FaultRow(
        40,
        "`expires_in` has another unit or type, is missing, zero, negative or enormous.",
        "The endpoint decides the unit, the token's own claims are compared, and what is doubtful is refused.",
        (
            "tests/unit/domain/test_token_response.py::test_the_unit_of_expires_in_depends_on_the_endpoint",
            "tests/unit/domain/test_token_response.py::test_an_impossible_lifetime_is_refused",
            "tests/unit/domain/test_token_response.py::test_an_ambiguous_unit_of_an_opaque_token_is_refused",
            "tests/unit/domain/test_token_response.py::test_an_answer_that_contradicts_the_claims_is_refused",
            "tests/e2e/test_vend.py::test_untrustworthy_answers_are_refused_and_not_kept",
        ),
    ),
    FaultRow(
        41,
        "The token of an answer contains line ends or non-ASCII characters, or is empty or enormous.",
        "The answer is refused.",
        ("tests/unit/domain/test_token_response.py::test_a_token_that_cannot_be_a_header_value_is_refused",),
    ),
    FaultRow(
        42,
        "IMS answers with a token of another client or org.",
        "The answer is refused and not stored.",
        (
            "tests/unit/domain/test_token_response.py::test_a_token_for_another_client_is_refused",
            "tests/e2e/test_vend.py::test_untrustworthy_answers_are_refused_and_not_kept",
        ),
    ),
    FaultRow(
        43,
        "IMS answers with a token that has expired or is about to.",
        "It is refused and not stored, and a tenant that fails costs few calls.",
        (
            "tests/unit/domain/test_token_response.py::test_a_token_outside_its_validity_is_refused",
            "tests/e2e/test_vend.py::test_untrustworthy_answers_are_refused_and_not_kept",
            (
                "tests/unit/service/test_vend.py::"
                "test_many_requests_for_a_failing_tenant_without_a_token_cost_few_exchanges"
            ),
        ),
    ),
    FaultRow(
        44,
        "The certificate of IMS has expired, is not trusted, or is for another name.",
        "The handshake is refused and nothing is sent.",
        (
            "tests/integration/test_egress_proxy.py::test_an_expired_certificate_is_named",
            "tests/integration/test_ims_hostile.py::test_an_untrusted_certificate_is_refused",
            "tests/integration/test_egress_proxy.py::test_the_certificate_of_the_target_is_verified_in_the_tunnel",
        ),
        limits="TLS 1.0 cannot be offered by the OpenSSL of the tests.",
    ),
    FaultRow(
        45,
        "IMS redirects, or its name leads elsewhere.",
        "The redirect is not followed; a host with another certificate gets no secret.",
        (
            "tests/integration/test_ims_hostile.py::test_a_redirect_is_not_followed",
            "tests/integration/test_ims_hostile.py::test_an_untrusted_certificate_is_refused",
        ),
    ),
    FaultRow(
        46,
        "IMS closes an idle connection just when it is reused.",
        "One retry on a new connection.",
        (
            "tests/integration/test_ims_hostile.py::test_the_keep_alive_race_is_retried_once_on_a_new_connection",
            "tests/integration/test_ims_hostile.py::test_the_retry_is_not_retried",
        ),
    ),
    FaultRow(
        47,
        "Exchanges are cancelled at random moments.",
        "All connections of the pool are free afterwards.",
        (
            "tests/integration/test_ims_hostile.py::test_cancelled_exchanges_leave_the_pool_healthy",
            "tests/integration/test_egress_proxy.py::test_failed_handshakes_in_tunnels_do_not_fill_the_pool",
        ),
        limits="400 exchanges, not five minutes of them.",
    ),
)

TIME = (
    FaultRow(
        48,
        "The wall clock of a replica is set forward or back by an hour.",
        "No expired token is answered, and no mass of refreshes begins.",
        (
            (
                "tests/unit/domain/test_token_states.py::"
                "test_the_later_clock_decides_about_the_end_and_the_steady_one_about_the_refresh"
            ),
            "tests/unit/service/test_backoff.py::test_a_clock_that_is_set_back_does_not_prolong_the_wait",
            "tests/unit/domain/test_rate_limit.py::test_a_clock_that_steps_back_locks_no_one_out",
        ),
    ),
    FaultRow(
        49,
        "A replica's clock is behind that of IMS.",
        "The difference is measured at each exchange and exported; an assertion that IMS refuses names the clock.",
        (
            "tests/integration/test_ims.py::test_every_answer_measures_the_clock_skew",
            "tests/integration/test_ims.py::test_a_wrong_clock_is_reported",
            "tests/unit/domain/test_token_states.py::test_a_replica_whose_clock_is_behind_counts_that_to_the_age",
            "tests/unit/adapters/test_prometheus.py::test_the_clock_difference_is_exported_once_it_is_known",
        ),
    ),
    FaultRow(
        50,
        "A caller's clock is wrong.",
        "60 s are tolerated, and no more.",
        (
            "tests/unit/adapters/test_jwt_verifier.py::test_unusual_claims_are_accepted",
            "tests/unit/adapters/test_jwt_verifier.py::test_the_leeway_ends",
            "tests/unit/adapters/test_jwt_verifier.py::test_every_forged_credential_is_refused",
        ),
    ),
)
