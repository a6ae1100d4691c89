"""Each threat that the design names, and the tests that would notice if it came true."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ALL_TESTS = [
    node.name
    for file in (*TESTS.glob("sending/test_*.py"), *TESTS.glob("security/test_*.py"))
    for node in ast.parse(file.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]

THREATS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "a private literal, in any spelling",
        (
            "test_a_hostile_url_is_refused",
            "test_no_hostile_url_is_created_over_the_api",
        ),
    ),
    2: (
        "inet_aton forms that clients take for loopback",
        (
            "test_no_spelling_of_loopback_reaches_a_listening_sink",
            "test_a_composed_url_that_passes_has_one_reading",
        ),
    ),
    3: (
        "http://*/, which the C library takes for loopback",
        ("test_no_spelling_of_loopback_reaches_a_listening_sink",),
    ),
    4: (
        "IPv4 inside IPv6, and zone ids",
        (
            "test_both_ends_of_every_block_are_denied_in_every_dress",
            "test_an_address_with_a_zone_is_never_public",
        ),
    ),
    5: (
        "two parsers see two hosts",
        (
            "test_whatever_is_accepted_every_parser_reads_alike",
            "test_a_mutated_hostile_url_that_passes_has_one_reading",
        ),
    ),
    6: (
        "IDNA 2003 against 2008",
        ("test_the_name_that_is_looked_up_is_the_one_that_is_kept",),
    ),
    7: (
        "local and metadata names",
        (
            "test_a_local_name_is_known_by_its_labels",
            "test_a_final_dot_does_not_break_the_certificate",
        ),
    ),
    8: (
        "a public name with a private answer among others",
        ("test_one_bad_answer_refuses_the_whole_name",),
    ),
    9: (
        "rebinding between check and connect",
        (
            "test_a_real_name_server_that_flips_is_caught",
            "test_a_verdict_holds_for_the_address_that_is_dialled",
            "test_a_row_that_turns_private_after_its_creation_is_refused",
        ),
    ),
    10: (
        "a kept connection after the name changed",
        ("test_a_name_that_turns_private_is_refused_though_a_connection_is_open",),
    ),
    11: (
        "two names on one address share a TLS connection",
        ("test_a_second_name_on_the_same_address_does_not_share_a_connection",),
    ),
    12: (
        "TLS: name, authority, certificate",
        (
            "test_sni_host_and_certificate_are_the_host_name",
            "test_a_certificate_for_another_name_is_refused",
            "test_an_unknown_authority_is_refused",
        ),
    ),
    13: (
        "redirects",
        (
            "test_a_redirect_is_recorded_and_its_target_never_fetched",
            "test_a_redirect_is_recorded_not_followed",
        ),
    ),
    14: (
        "proxies of the environment",
        (
            "test_the_environments_proxies_and_netrc_are_ignored",
            "test_no_other_door_to_the_network_exists",
        ),
    ),
    15: (
        "SSL_CERT_FILE and .netrc",
        (
            "test_the_environment_cannot_add_an_authority",
            "test_the_environments_proxies_and_netrc_are_ignored",
        ),
    ),
    16: (
        "custom headers that frame, forge or split",
        (
            "test_a_header_that_is_ours_or_frames_the_request_is_refused",
            "test_a_header_that_would_break_the_framing_is_never_sent",
            "test_custom_headers_that_pass_stay_what_they_are_on_the_wire",
        ),
    ),
    17: (
        "secrets in error texts, jobs, rows and pages",
        (
            "test_a_planted_secret_is_found_nowhere",
            "test_a_key_shows_nothing_of_itself",
        ),
    ),
    18: (
        "URLs and headers in logs",
        ("test_no_log_shows_the_query_or_a_header",),
    ),
    19: (
        "cookies carried to the next tenant",
        ("test_a_cookie_is_never_sent_back",),
    ),
    20: (
        "compressed bombs",
        (
            "test_a_compressed_body_is_never_unfolded",
            "test_memory_stays_bounded_whatever_the_body_unfolds_to",
        ),
    ),
    21: (
        "slow drips and endless early hints",
        ("test_one_deadline_bounds_the_whole_attempt",),
    ),
    22: ("huge headers", ("test_every_behaviour_has_its_word",)),
    23: (
        "slow name servers starve the others",
        (
            "test_known_slow_names_leave_the_quick_lane_free",
            "test_a_slow_name_holds_one_thread_however_often_it_is_asked",
        ),
    ),
    24: (
        "the answer's body as a way to read inside",
        (
            "test_dirty_bytes_become_clean_text",
            "test_bodies_up_to_the_hard_limit_are_cut_not_refused",
            "test_only_helpful_headers_are_kept_and_they_are_short",
        ),
    ),
    25: (
        "an oracle for inner ports and names",
        (
            "test_open_and_closed_ports_of_a_private_host_look_the_same",
            "test_a_refusal_says_nothing_about_the_destination",
        ),
    ),
    26: (
        "rows from before the check, and other write paths",
        (
            "test_every_private_url_in_a_row_is_refused_and_its_tenant_sees_no_address",
            "test_no_honest_url_is_changed_into_a_hostile_one_over_the_api",
            "test_no_hostile_url_passes_the_portals_forms",
        ),
    ),
    27: (
        "our own public address, and the operator's inner public networks",
        (
            "test_this_hosts_own_public_address_is_refused",
            "test_the_operators_extra_networks_are_closed",
        ),
    ),
    28: (
        "HTTP/2 coalescing",
        (
            "test_no_connection_ever_offers_http_2",
            "test_a_second_name_on_the_same_address_does_not_share_a_connection",
        ),
    ),
    29: (
        "an allow list that is too wide",
        (
            "test_no_setting_opens_a_metadata_address",
            "test_what_is_not_listed_stays_closed",
            "test_a_wrong_entry_is_named_in_one_sentence",
        ),
    ),
    30: (
        "a URL that is no text",
        (
            "test_a_hostile_url_is_refused",
            "test_anything_else_is_refused_with_our_own_error_only",
            "test_no_body_is_too_strange_for_a_plain_answer",
        ),
    ),
    31: (
        "how a refused delivery ends and looks",
        ("test_every_private_url_in_a_row_is_refused_and_its_tenant_sees_no_address",),
    ),
}


def test_the_map_is_complete() -> None:
    assert list(range(1, 32)) == list(THREATS)


@pytest.mark.parametrize("number", THREATS)
def test_every_threat_has_tests_that_exist(number: int) -> None:
    threat, tests = THREATS[number]

    assert tests, threat
    assert [] == [test for test in tests if ALL_TESTS.count(test) != 1], threat
