import asyncio
import json
import logging
import socket

import httpx
import networkx as nx
import pytest

from controller.api import ApiServer, create_app
from controller.api_routes import MOST_FLOWS
from controller.guard import is_loopback_name
from controller.service import Event, JobState, NotReady, Readiness
from controller.testing import FakeService, served, two_host_plan
from dataplane.files import RulesFile, rules_of
from dataplane.rules import FlowRule, Match, SwitchRules, Table
from topologies.errors import HeddleError, InputError

JOB = {"name": "train", "ranks": ["h1", "h2"], "message_bytes": 1000}


@pytest.fixture(scope="module")
def server():
    # One server for all tests: starting and stopping one takes longer than most of them.
    service = FakeService()
    with served(service) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield service, client


@pytest.fixture
def service(server):
    shared, _ = server
    vars(shared).update(vars(FakeService()))
    return shared


@pytest.fixture
def api(server, service):
    _, client = server
    return client


def assert_problem(response, status, said):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert said in problem["detail"]
    assert "\n" not in problem["detail"]


def test_the_fabric_is_node_link_data_that_networkx_reads(api, service):
    data = api.get("/api/v1/fabric").json()

    graph = nx.node_link_graph(data, edges="links")

    assert set(graph) == {"s1", "h1", "h2"}
    assert graph.number_of_edges() == 4
    assert graph.graph == {"version": 7}


def test_rules_are_given_in_the_form_of_a_rules_file(api, service):
    data = api.get("/api/v1/rules").json()

    assert data.pop("next") is None
    assert rules_of(RulesFile.model_validate(data), "the answer") == service.installed
    assert api.get("/api/v1/rules?switch=s1").json()["switches"] == data["switches"]
    assert_problem(api.get("/api/v1/rules?switch=s9"), 404, "no rules are known of 's9'")


def test_many_rules_are_given_a_part_at_a_time(api, service):
    flows = frozenset(FlowRule(Table.DEFAULT, priority, Match()) for priority in range(MOST_FLOWS // 2))
    many = SwitchRules(flows | {FlowRule(Table.GUARD, priority, Match()) for priority in range(MOST_FLOWS)})
    service.installed = {"s1": SwitchRules(flows), "s3": many, "s2": SwitchRules(flows), "s4": SwitchRules()}

    parts, following = [], ""
    while following is not None:
        answer = api.get("/api/v1/rules", params={"from": following}).json()
        parts.append([switch["id"] for switch in answer["switches"]])
        following = answer["next"]

    assert parts == [["s1", "s2"], ["s3"], ["s4"]]


def test_switches_are_listed_with_their_dpid_in_hex(api):
    (switch,) = api.get("/api/v1/switches").json()

    assert switch == {
        "id": "s1", "dpid": "ffff000000000001", "connected": True, "address": "127.0.0.1:40000",
        "flows": 12, "groups": 2, "meters": 3,
    }  # fmt: skip


def test_links_are_listed_with_capacity_and_load(api):
    links = api.get("/api/v1/links").json()

    assert links[0] == {
        "id": "h1:1", "source": "h1", "source_port": 1, "target": "s1", "target_port": 1,
        "capacity_bps": 1e7, "capacity_assumed": False, "delay_s": 1e-6, "load_bps": 5e6,
        "damped": False,
        "cordoned": False,
    }  # fmt: skip
    assert links[1]["load_bps"] is None


def test_hosts_are_listed_with_their_place(api):
    hosts = api.get("/api/v1/hosts").json()

    assert [(host["id"], host["attached_to"]) for host in hosts] == [("h1", "s1:1"), ("h2", "s1:2")]


def test_the_plan_comes_with_its_proof_and_paths(api):
    plan = api.get("/api/v1/plan").json()

    assert (plan["epoch"], plan["value"], plan["bound"], plan["gap"]) == (3, 38.0, 38.0, 0.0)
    assert plan["paths"][0]["links"] == ["h1:1", "s1:2"]


def test_no_plan_is_null(api, service):
    service.active = None

    assert api.get("/api/v1/plan").json() is None


def test_a_job_is_submitted_read_and_deleted(api, service):
    created = api.post("/api/v1/jobs", json=JOB)

    assert created.status_code == 201
    assert created.headers["location"] == "/api/v1/jobs/train"
    assert created.json()["state"] == "planning"
    assert api.get("/api/v1/jobs/train").json() == created.json()
    assert api.get("/api/v1/jobs").json() == [created.json()]

    deleted = api.delete("/api/v1/jobs/train")

    assert deleted.status_code == 202
    assert deleted.json()["state"] == "removing"
    assert api.get("/api/v1/jobs").json() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ranks": ["h1", "nobody"]}, "'nobody', which is no known host"),
        ({"ranks": ["h1", "h1"]}, "host 'h1' twice"),
        ({"ranks": ["h1"]}, "has 1 ranks"),
        ({"ranks": "h1"}, "ranks: input should be a valid"),
        ({"ranks": ["h1", 2]}, "ranks[1]: input should be a valid string"),
        ({"message_bytes": 0}, "message_bytes 0"),
        ({"message_bytes": -1}, "message_bytes -1"),
        ({"message_bytes": 1.5}, "message_bytes: input should be a valid integer"),
        ({"message_bytes": True}, "message_bytes: input should be a valid integer"),
        ({"message_bytes": "8"}, "message_bytes: input should be a valid integer"),
        ({"message_bytes": 10**30}, "message_bytes"),
        ({"name": ""}, "job name '' does not fit"),
        ({"name": "../x"}, "job name '../x' does not fit"),
        ({"collective": "gossip"}, "collective: input should be 'all-reduce'"),
        ({"rank": []}, "unknown key 'rank' (did you mean 'ranks'?)"),
    ],
)
def test_a_job_that_does_not_fit_is_refused_in_one_sentence(api, service, change, said):
    assert_problem(api.post("/api/v1/jobs", json=JOB | change), 422, said)

    assert not service.statuses


def test_a_job_without_ranks_names_the_missing_key(api):
    assert_problem(api.post("/api/v1/jobs", json={"name": "train", "message_bytes": 8}), 422, "key 'ranks' is missing")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'name': 1}",
        b"[]",
        b"null",
        b'{"name": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "a"} trailing',
    ],
)
def test_a_body_that_is_no_job_in_json_is_refused(api, body):
    response = api.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})

    assert_problem(response, 422, "")


def test_a_body_of_another_type_is_refused(api):
    response = api.post("/api/v1/jobs", content=json.dumps(JOB), headers={"Content-Type": "text/plain"})

    assert_problem(response, 415, "Content-Type: application/json")


def test_a_duplicate_job_is_a_conflict(api):
    api.post("/api/v1/jobs", json=JOB)

    assert_problem(api.post("/api/v1/jobs", json=JOB), 409, "'train' exists already")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_job_is_not_found(api, method):
    assert_problem(api.request(method, "/api/v1/jobs/none"), 404, "no job is named 'none'")


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/api/v1", "/api/v1/nothing", "/api/v1/jobs/", "/api/v2/jobs"]
)
def test_an_unknown_path_is_not_found(api, path):
    assert_problem(api.get(path), 404, f"nothing is at {path}")


def test_a_method_that_a_path_does_not_take_is_refused(api):
    response = api.put("/api/v1/switches")

    assert_problem(response, 405, "it takes GET")
    assert response.headers["allow"] == "GET"


def test_a_parameter_that_does_not_fit_is_refused(api):
    assert_problem(api.get("/api/v1/events?after=x"), 422, "parameter 'after'")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("GET events?since=7", "parameter 'since' is not one of /api/v1/events; it takes 'after'"),
        ("GET events?after=1&limit=7", "parameter 'limit'"),
        ("GET switches?up=1", "it takes none"),
        ("GET jobs/train?full", "it takes none"),
        ("DELETE jobs/train?force=1", "it takes none"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(api, service, request_, said):
    api.post("/api/v1/jobs", json=JOB)
    method, path = request_.split()

    assert_problem(api.request(method, f"/api/v1/{path}"), 422, said)

    assert "train" in service.statuses


def test_events_say_whether_somebody_should_look_at_them(api, service):
    kinds = {"switch-up": False, "lldp-forged": True, "channel-tls": True, "lldp-foreign": False}
    service.happened = [Event(number, 1.0, kind, "message") for number, kind in enumerate(kinds, start=1)]

    assert {event["kind"]: event["warning"] for event in api.get("/api/v1/events").json()} == kinds


def test_what_the_daemon_cannot_do_yet_is_unavailable(api, service):
    service.error = NotReady("waiting for switches")

    response = api.post("/api/v1/jobs", json=JOB)

    assert_problem(response, 503, "waiting for switches")
    assert response.headers["retry-after"] == "1"


def test_a_failure_that_the_daemon_explains_is_passed_on(api, service):
    service.error = HeddleError("the disk is full; free some space")

    assert_problem(api.post("/api/v1/jobs", json=JOB), 500, "the disk is full; free some space")


def test_an_unexpected_failure_is_logged_and_leaks_nothing(api, service, caplog):
    service.error = ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR):
        response = api.post("/api/v1/jobs", json=JOB)

    assert_problem(response, 500, "its log says why")
    assert "secret" not in response.text
    assert "secret detail" in caplog.text


def test_a_write_that_the_daemon_does_not_answer_is_unavailable_and_others_go_on():
    app = create_app(FakeService(silent=True), write_timeout_s=0.05)

    async def both():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(client.post("/api/v1/jobs", json=JOB), client.get("/api/v1/switches"))

    write, read = asyncio.run(both())

    assert_problem(write, 503, "did not get to this within 0.05 s")
    assert read.status_code == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused(declared):
    app = create_app(FakeService(), max_body_bytes=1000)
    content = b"x" * 1001

    async def chunks():
        yield content[:600]
        yield content[600:]

    async def post():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/api/v1/jobs", content=content if declared else chunks())

    assert_problem(asyncio.run(post()), 413, "larger than 1000 bytes")


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/healthz", "/nothing"])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:8080", "null"])
def test_a_request_of_a_web_page_is_refused(api, path, origin):
    assert_problem(api.get(path, headers={"Origin": origin}), 403, "Origin")


def test_a_web_page_cannot_submit_a_job(api, service):
    assert_problem(api.post("/api/v1/jobs", json=JOB, headers={"Origin": "http://evil.example"}), 403, "Origin")

    assert not service.statuses


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "::1"])
def test_a_request_by_a_foreign_name_is_refused(api, host):
    assert_problem(api.get("/healthz", headers={"Host": host}), 421, "Host header")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:9"]
)
def test_names_of_this_machine_are_accepted(host):
    assert is_loopback_name(host)


def test_events_are_listed_after_an_id(api, service):
    service.happened = [Event(1, 10.0, "a", "first"), Event(2, 11.0, "b", "second")]

    events = api.get("/api/v1/events?after=1").json()

    assert events == [{"id": 2, "at_s": 11.0, "kind": "b", "message": "second", "warning": False}]


def test_events_stream_to_those_who_ask_for_a_stream(api, service):
    with api.stream("GET", "/api/v1/events", headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        first = [next(lines) for _ in range(5)]
        service.happened.append(Event(2, 11.0, "link-down", "s1:1 is down"))
        second = [next(lines) for _ in range(2)]

    assert first[2] == "id: 1"
    assert second[0] == "id: 2"
    assert json.loads(second[1].removeprefix("data: "))["kind"] == "link-down"


def test_a_stream_goes_on_where_it_broke_off(api, service):
    service.happened = [Event(number, 1.0, "kind", "message") for number in (1, 2, 3)]

    with api.stream("GET", "/api/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "2"}) as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)][2] == "id: 3"


def test_an_open_stream_does_not_hold_up_the_end(service):
    with (
        served(service) as url,
        httpx.stream(
            "GET", f"{url}/api/v1/events", headers={"Accept": "text/event-stream"}, trust_env=False
        ) as response,
    ):
        assert next(response.iter_lines()) == ": events"


def test_health_says_that_the_api_answers(api, service):
    service.ready = Readiness(False, "waiting")

    assert api.get("/healthz").json()["status"] == "ok"


def test_readiness_follows_the_daemon(api, service):
    assert api.get("/readyz").json() == {"ready": True, "reason": "1 switch, 2 hosts"}

    service.ready = Readiness(False, "waiting for switches")

    assert_problem(api.get("/readyz"), 503, "waiting for switches")


def test_metrics_tell_switches_loads_jobs_and_counts(api, service):
    api.post("/api/v1/jobs", json=JOB)
    service.counts = {'odd"kind\\': 2}

    response = api.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    assert "heddle_ready 1.0" in lines
    assert 'heddle_switch_up{switch="s1"} 1.0' in lines
    assert 'heddle_link_load_bits_per_second{link="h1:1"} 5000000.0' in lines
    assert 'heddle_jobs{state="planning"} 1.0' in lines
    assert f"heddle_plan_epoch {float(two_host_plan().epoch)}" in lines
    assert r'heddle_events_total{kind="odd\"kind\\"} 2.0' in lines
    assert not [line for line in lines if line.startswith('heddle_link_load_bits_per_second{link="s1:1"}')]


def test_the_api_describes_itself_and_its_references_resolve(api):
    description = api.get("/api/v1/openapi.json").json()

    paths = {"fabric", "switches", "links", "cordons", "hosts", "jobs", "jobs/{name}", "rules", "plan", "events"}
    assert {f"/api/v1/{path}" for path in paths} | {"/healthz", "/readyz", "/metrics"} == set(description["paths"])
    assert description["paths"]["/api/v1/jobs"]["post"]["requestBody"]["required"]
    for reference in references(description):
        found = description
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "$ref" else references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_a_port_in_use_is_one_clear_sentence(service):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(HeddleError) as caught:
            ApiServer(service, "127.0.0.1", port).start()

    assert str(caught.value) == (
        f"the API cannot listen on 127.0.0.1:{port}: another program uses this port; "
        "stop it or choose another with --api"
    )
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::", "example.org"])
def test_only_loopback_addresses_are_listened_on(service, address):
    with pytest.raises(InputError):
        ApiServer(service, address, 0)


def test_the_api_listens_on_ipv6_too(service):
    server = ApiServer(service, "::1", 0)
    try:
        server.start()
    except HeddleError:
        pytest.skip("no IPv6 loopback here")
    try:
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    finally:
        server.stop()


def test_a_stopped_api_listens_no_more(service):
    with served(service) as url:
        pass

    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_a_server_that_never_started_can_be_stopped(service):
    ApiServer(service, "127.0.0.1", 0).stop()


def test_job_states_are_those_of_the_contract():
    assert set(JobState) == {"planning", "installing", "active", "failed", "removing"}


def test_cables_are_cordoned_and_uncordoned_in_one_step(api):
    assert api.post("/api/v1/cordons", json={"cordon": ["s1:1"]}).json() == ["s1:1"]
    assert api.post("/api/v1/cordons", json={"cordon": ["s1:2"], "uncordon": ["s1:1"]}).json() == ["s1:2"]
    assert api.get("/api/v1/cordons").json() == ["s1:2"]
    assert [link["id"] for link in api.get("/api/v1/links").json() if link["cordoned"]] == ["s1:2"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"cordon": ["s1:7"]}, "no cable begins at s1:7"),
        ({"cordon": ["s1"]}, "'s1'"),
        ({"cordon": "s1:1"}, "cordon: "),
        ({"cordone": []}, "'cordone'"),
    ],
)
def test_what_is_no_cable_is_not_cordoned(api, body, said):
    assert_problem(api.post("/api/v1/cordons", json=body), 422, said)
    assert api.get("/api/v1/cordons").json() == []
