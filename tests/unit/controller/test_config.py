import json
from pathlib import Path

import pytest

from controller.config import Config, default_state_dir, load_config
from controller.endpoint import Endpoint
from solver.routing import Objective
from topologies.errors import InputError


@pytest.fixture
def written(tmp_path):
    def write(text, name="heddle.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path, flags=None):
    with pytest.raises(InputError) as caught:
        load_config(path, flags)
    return str(caught.value)


def test_without_a_file_everything_has_a_default():
    config = load_config()

    assert config.openflow == Endpoint("127.0.0.1", 6653)
    assert config.api == Endpoint("127.0.0.1", 8080)
    assert config.fabric is None
    assert config.routing.default == "ecmp"
    assert config.routing.max_utilisation == 0.95
    assert config.objective is Objective.MIN_DELAY


def test_an_empty_file_is_a_valid_one(written):
    assert load_config(written("# nothing yet\n")) == load_config()


def test_every_key_is_read(written, tmp_path):
    path = written(
        "openflow: 127.0.0.1:7000\n"
        "api: '[::1]:7001'\n"
        "state_dir: state\n"
        "fabric: fabrics/lab.json\n"
        "routing: {default: shortest, max_utilisation: 0.5}\n"
        "objective: min-delay\n"
    )

    config = load_config(path)

    assert config.openflow.port == 7000
    assert config.api == Endpoint("::1", 7001)
    assert config.state_dir == tmp_path / "state"
    assert config.fabric == tmp_path / "fabrics" / "lab.json"
    assert config.routing.default == "shortest"
    assert config.routing.max_utilisation == 0.5


def test_a_flag_wins_over_the_file_and_leaves_its_neighbours(written):
    path = written("routing:\n  default: ecmp\n  max_utilisation: 0.8\nfabric: other.json\n")

    config = load_config(path, {"routing.default": "shortest", "fabric": "mine.json", "openflow": None})

    assert config.routing.default == "shortest"
    assert config.routing.max_utilisation == 0.8
    assert config.fabric == Path.cwd() / "mine.json"


def test_an_unknown_key_is_named_with_file_line_nearest_and_known_keys(written):
    path = written("api: 127.0.0.1:8080\nopenflw: 127.0.0.1:6653\n")

    message = refusal(path)

    assert message.startswith(f"{path}, line 2: unknown key 'openflw' (did you mean 'openflow'?)")
    assert message.endswith("known keys: api, fabric, objective, openflow, routing, state_dir")


def test_an_unknown_key_inside_a_section_is_named_with_its_section(written):
    message = refusal(written("routing:\n  default: ecmp\n  utilisation: 0.9\n"))

    assert "line 3: unknown key 'routing.utilisation' (did you mean 'max_utilisation'?)" in message
    assert message.endswith("known keys: default, max_utilisation")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("routing:\n  default: random\n", "line 2: routing.default: input should be 'ecmp' or 'shortest'"),
        ("routing:\n  max_utilisation: 0\n", "line 2: routing.max_utilisation: input should be greater than 0"),
        ("routing:\n  max_utilisation: 1.1\n", "line 2: routing.max_utilisation: input should be less than or equal"),
        ("routing:\n  max_utilisation: .nan\n", "line 2: routing.max_utilisation: input should be"),
        ("api: 0.0.0.0:8080\n", "line 1: api: the API has no log-in yet"),
        ("api: 8080\n", "line 1: api: write ADDRESS:PORT"),
        ("openflow: 127.0.0.1:70000\n", "'127.0.0.1:70000' is no address with a port"),
        ("openflow: example.org:6653\n", "'example.org' in 'example.org:6653' is no IP address"),
        ("openflow: fe80::1:6653\n", "'fe80::1:6653' mixes address and port"),
        ("objective: fastest\n", "line 1: objective: input should be"),
        ("api: 127.0.0.1:1\napi: 127.0.0.1:2\n", "line 2: key 'api' is here twice"),
        ("routing: {default: ecmp\n", "no YAML"),
        ("- api\n", "holds a list"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("? [1]\n: 2\n", "line 1: no YAML"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(written, text, said):
    path = written(text)

    message = refusal(path)

    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml cannot be read: No such file or directory"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "heddle.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    assert "is no text in UTF-8" in refusal(path)


def test_a_wrong_flag_is_refused_without_naming_a_file(written):
    assert refusal(written(""), {"api": "10.0.0.1:80"}).startswith("api: the API has no log-in yet")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_config().objective = Objective.MIN_DELAY


def test_state_of_a_user_goes_where_the_environment_says(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ada/states")

    assert default_state_dir() == Path("/home/ada/states/heddle")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_state_dir() == Path("/home/ada/.local/state/heddle")


def test_state_of_root_goes_to_the_system(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert default_state_dir() == Path("/var/lib/heddle")


def test_a_configuration_prints_as_a_file_holds_it():
    printed = json.loads(load_config(None, {"openflow": "[::1]:1"}).model_dump_json())

    assert printed["openflow"] == "[::1]:1"
    assert Config.model_validate(printed).openflow == Endpoint("::1", 1)


@pytest.mark.parametrize("text", ["127.0.0.1:6653", "[::1]:6653", "10.1.2.3:0"])
def test_an_endpoint_prints_as_it_was_written(text):
    assert str(Endpoint.parse(text)) == text


def test_localhost_and_urls_are_endpoints_too():
    assert Endpoint.parse("http://localhost:8080/") == Endpoint("127.0.0.1", 8080)
