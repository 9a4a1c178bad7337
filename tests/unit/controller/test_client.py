import http.server
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from controller.client import ApiError, Client, DaemonUnreachable, RequestRefused
from controller.service import Event, JobState, NotReady, Readiness
from controller.testing import FakeService, served, two_host_fabric
from dataplane.rules import FlowRule, Match, SwitchRules, Table
from topologies.errors import HeddleError, InputError
from workloads.job import Job

JOB = Job("train", ("h1", "h2"), 1000)


@pytest.fixture(scope="module")
def server():
    service = FakeService()
    with served(service) as url, Client(url) as client:
        yield service, client


@pytest.fixture
def service(server):
    shared, _ = server
    vars(shared).update(vars(FakeService()))
    return shared


@pytest.fixture
def client(server, service):
    _, shared = server
    return shared


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def set_state(service, state, reason=""):
    service.statuses["train"] = replace(service.statuses["train"], state=state, reason=reason)


def test_the_fabric_arrives_whole(client):
    fabric = client.fabric()

    assert fabric == two_host_fabric()
    assert fabric.version == 7


def test_every_list_arrives_typed(client):
    assert [switch.dpid for switch in client.switches()] == ["ffff000000000001"]
    assert [link.utilisation for link in client.links()] == [0.5, None, 0.0, 0.25]
    assert [host.attached_to for host in client.hosts()] == ["s1:1", "s1:2"]
    assert [event.kind for event in client.events()] == ["switch-up"]
    assert client.events(after=1) == ()
    assert client.jobs() == ()


def test_events_are_followed_as_they_happen(client, service):
    service.happened = [Event(number, 1.0, "kind", f"number {number}") for number in (1, 2)]
    events = client.follow_events(after=1)

    assert next(events).message == "number 2"
    service.happened.append(Event(3, 1.0, "lldp-forged", "forged"))
    third = next(events)
    events.close()

    assert (third.id, third.warning) == (3, True)


def test_followed_events_end_with_the_daemon_in_one_sentence(service):
    with served(service) as url:
        client = Client(url)
        events = client.follow_events()
        assert next(events).kind == "switch-up"

    with client, pytest.raises(DaemonUnreachable, match="start one with 'heddle run'"):
        next(events)


def test_events_of_no_daemon_or_past_the_most_streams_are_one_sentence(client, free_port, monkeypatch):
    with Client(f"127.0.0.1:{free_port}") as nobody, pytest.raises(DaemonUnreachable):
        next(nobody.follow_events())
    monkeypatch.setattr("controller.api_routes.MAX_EVENT_STREAMS", 0)

    with pytest.raises(ApiError, match="0 event streams are open already"):
        next(client.follow_events())


def test_counters_arrive_by_kind(client, service):
    service.counts = {"switch-up": 3, "channel-tls": 12_345_678}

    assert client.counters() == service.counts


def test_the_plan_arrives_with_its_paths(client, service):
    plan = client.plan()

    assert plan is not None
    assert plan.paths[0].links == ("h1:1", "s1:2")
    service.active = None
    assert client.plan() is None


def test_rules_arrive_whole_in_however_many_parts(client, service):
    assert client.rules() == client.rules("s1") == service.installed

    flows = [frozenset({FlowRule(Table.DEFAULT, priority, Match())}) for priority in range(5)]
    service.installed = {f"s {number}&": SwitchRules(one) for number, one in enumerate(flows)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("controller.api_routes.MOST_FLOWS", 1)
        assert client.rules() == service.installed
    assert client.rules("s 2&") == {"s 2&": SwitchRules(flows[2])}
    with pytest.raises(RequestRefused, match="no rules are known of 's9'"):
        client.rules("s9")


def test_a_job_is_submitted_found_and_deleted(client):
    assert client.submit_job(JOB).state is JobState.PLANNING
    assert client.job("train").ranks == ("h1", "h2")
    assert client.delete_job("train").state is JobState.REMOVING
    client.wait_gone("train", timeout_s=60)


@pytest.mark.parametrize(
    ("job", "status", "said"),
    [
        (Job("train", ("h1", "h2"), 1), 409, "exists already"),
        (Job("other", ("h1", "nobody"), 1), 422, "'nobody', which is no known host"),
    ],
)
def test_a_refused_job_is_bad_input_with_the_daemons_sentence(client, job, status, said):
    client.submit_job(JOB)

    with pytest.raises(RequestRefused, match=said) as caught:
        client.submit_job(job)

    assert isinstance(caught.value, InputError)
    assert caught.value.problem.status == status


@pytest.mark.parametrize("name", ["none", "a/b", "../plan", "?x", ""])
def test_an_unknown_job_is_bad_input(client, name):
    with pytest.raises(RequestRefused) as caught:
        client.delete_job(name)

    assert caught.value.problem.status in (404, 405)


def test_what_the_daemon_cannot_do_is_a_failure_and_no_bad_input(client, service):
    service.error = NotReady("waiting for switches")

    with pytest.raises(ApiError, match="waiting for switches") as caught:
        client.submit_job(JOB)

    assert not isinstance(caught.value, InputError)


def test_readiness_is_told_with_its_reason(client, service):
    assert client.ready().ready

    service.ready = Readiness(False, "waiting for switches")

    assert not client.ready().ready
    assert client.ready().reason == "waiting for switches"


def test_waiting_for_readiness_tells_each_reason_once(client, service):
    service.ready = Readiness(False, "waiting for switches")
    told = []

    def progress(reason):
        told.append(reason)
        service.ready = Readiness(True, "")

    client.wait_ready(timeout_s=60, progress=progress)

    assert told == ["waiting for switches"]


def test_waiting_for_readiness_ends_with_what_is_missing(client, service):
    service.ready = Readiness(False, "waiting for switches")

    with pytest.raises(HeddleError, match=r"not ready after 0\.05 s: waiting for switches"):
        client.wait_ready(timeout_s=0.05)


def test_one_can_wait_for_a_daemon_that_does_not_listen_yet(free_port):
    reasons = []
    with Client(f"127.0.0.1:{free_port}") as client, pytest.raises(HeddleError, match="no daemon answers"):
        client.wait_ready(timeout_s=0.05, progress=reasons.append)

    assert len(reasons) == 1


def test_waiting_for_a_job_ends_once_it_is_active(client, service):
    client.submit_job(JOB)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.wait_job, "train", JobState.ACTIVE, 60)
        set_state(service, JobState.ACTIVE)

        assert waiting.result(timeout=60).state is JobState.ACTIVE


def test_waiting_for_a_job_ends_with_its_failure(client, service):
    client.submit_job(JOB)
    set_state(service, JobState.FAILED, "no path from h1 to h2")

    with pytest.raises(HeddleError, match="job 'train' failed: no path from h1 to h2"):
        client.wait_job("train", JobState.ACTIVE, timeout_s=60)


def test_waiting_for_a_job_says_how_far_it_is_at_the_end(client, service):
    client.submit_job(JOB)
    set_state(service, JobState.INSTALLING, "s1 is away")

    with pytest.raises(HeddleError, match=r"not active after 0 s: it is installing \(s1 is away\)"):
        client.wait_job("train", JobState.ACTIVE, timeout_s=0)


def test_waiting_for_an_end_says_what_is_still_there(client):
    client.submit_job(JOB)

    with pytest.raises(HeddleError, match="is not gone after 0 s: it is planning"):
        client.wait_gone("train", timeout_s=0)


def test_where_nobody_listens_the_sentence_says_what_to_do(free_port):
    url = f"http://127.0.0.1:{free_port}"
    with Client(url) as client:
        assert not client.health()
        with pytest.raises(DaemonUnreachable) as caught:
            client.switches()

    assert str(caught.value) == (
        f"no daemon answers at {url} (nothing listens there); start one with 'heddle run' or name another with --api"
    )


def test_a_daemon_that_stays_silent_is_unreachable():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, timeout_s=0.1) as client, pytest.raises(DaemonUnreachable, match="it is silent"):
            client.switches()


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"{}"), (404, b"<html>"), (302, b"")])
def test_another_program_at_the_address_is_recognised(status, body):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{other.server_port}"
        with Client(url) as client, pytest.raises(HeddleError, match="is another program there"):
            client.switches()
        thread.join()


@pytest.mark.parametrize("url", ["http://[::", "http://127.0.0.1:http", "ftp://127.0.0.1", "http://"])
def test_what_is_no_url_is_bad_input(url):
    with pytest.raises(InputError, match="is no URL"), Client(url) as client:
        client.switches()


def test_the_environments_proxies_are_not_asked(service, client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Client(client.url) as fresh:
        assert fresh.health()


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8080", "192.0.2.1:8080", "http://example.invalid:80", "[2001:db8::1]:80"]
)
def test_another_machine_is_never_asked(url: str):
    with pytest.raises(InputError, match="loopback addresses only"):
        Client(url)
