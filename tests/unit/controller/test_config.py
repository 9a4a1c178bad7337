import json
import re
from pathlib import Path

import pytest

from controller.config import Config, TlsConfig, default_state_dir, load_config
from controller.endpoint import Endpoint
from solver.routing import Objective
from topologies.errors import InputError

DIGITS = "0123456789abcdef" * 4
COLONS = ":".join(re.findall("..", DIGITS)).upper()
TLS = "openflow_tls: {certificate: c.pem, key: k.pem, authority: a.pem}\n"


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
    assert config.openflow_tls is None
    assert config.switches.allowed is None
    assert config.switches.certificates == {}


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
        "openflow_tls: {certificate: cert.pem, key: keys/key.pem, authority: /etc/ca.pem}\n"
        f"switches: {{allowed: declared, certificates: {{'0000000000000010': '{COLONS}'}}}}\n"
    )

    config = load_config(path)

    assert config.openflow.port == 7000
    assert config.api == Endpoint("::1", 7001)
    assert config.state_dir == tmp_path / "state"
    assert config.fabric == tmp_path / "fabrics" / "lab.json"
    assert config.routing.default == "shortest"
    assert config.routing.max_utilisation == 0.5
    assert config.openflow_tls == TlsConfig(
        certificate=tmp_path / "cert.pem", key=tmp_path / "keys" / "key.pem", authority=Path("/etc/ca.pem")
    )
    assert config.switches.allowed == "declared"
    assert config.switches.certificates == {16: {DIGITS}}


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
    assert message.endswith("known keys: api, fabric, objective, openflow, openflow_tls, routing, state_dir, switches")


def test_an_unknown_key_inside_a_section_is_named_with_its_section(written):
    message = refusal(written("routing:\n  default: ecmp\n  utilisation: 0.9\n"))

    assert "line 3: unknown key 'routing.utilisation' (did you mean 'max_utilisation'?)" in message
    assert message.endswith("known keys: budget, budgets, buffer_bytes, default, hold_down_s, max_utilisation")


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
        ("openflow_tls: {key: k.pem, authority: a.pem}\n", "line 1: key 'openflow_tls.certificate' is missing"),
        ("openflow_tls: {certificat: c.pem}\n", "unknown key 'openflow_tls.certificat' (did you mean 'certificate'?)"),
        ("switches: {allow: declared}\n", "unknown key 'switches.allow' (did you mean 'allowed'?)"),
        ("switches: {allowed: all}\n", "line 1: switches.allowed: write 'declared', or a list of dpids"),
        (
            "switches: {allowed: [0000000000000010]}\n",
            "switches.allowed: 8 is no dpid (YAML read it as a number); write it as 16 hexadecimal digits in quotes",
        ),
        ("switches: {allowed: []}\n", "line 1: switches.allowed: an empty list lets no switch connect"),
        ("switches: {allowed: ['1']}\n", "switches.allowed: '1' is no dpid; write"),
        ("switches: {allowed: ['0000000000000000']}\n", "'0000000000000000' is no dpid"),
        ("switches: {certificates: {1: ab}}\n", "line 1: switches.certificates: 1 is no dpid (YAML read it as a"),
        ("switches: {certificates: {'0000000000000001': ab}}\n", "'ab' of 0000000000000001 is no fingerprint"),
        ("switches: {certificates: {'0000000000000001': []}}\n", "[] of 0000000000000001 is no fingerprint"),
        ("switches: {certificates: ['0000000000000001']}\n", "write a fingerprint for each dpid"),
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


def test_declared_switches_need_a_fabric_which_a_flag_may_bring(written):
    path = written("switches: {allowed: declared}\n")

    assert refusal(path) == "switches.allowed is 'declared', but no fabric is; name its file under 'fabric'"
    assert load_config(path, {"fabric": "f.json"}).switches.allowed == "declared"


def test_certificates_of_switches_need_tls_which_flags_may_bring(written):
    path = written(f"switches: {{certificates: {{'0000000000000001': {DIGITS}}}}}\n")
    flags = {"openflow_tls.certificate": "c.pem", "openflow_tls.key": "k.pem", "openflow_tls.authority": "a.pem"}

    assert refusal(path).startswith("switches.certificates needs TLS")
    assert load_config(path, flags).openflow_tls.key == Path.cwd() / "k.pem"


def test_a_flag_replaces_one_file_for_tls_and_leaves_the_others(written, tmp_path):
    config = load_config(written(TLS), {"openflow_tls.key": "mine.pem"})

    assert config.openflow_tls.key == Path.cwd() / "mine.pem"
    assert config.openflow_tls.certificate == tmp_path / "c.pem"


def test_a_dpid_may_come_with_the_old_certificate_and_the_new_one(written):
    other = DIGITS[::-1]

    config = load_config(written(TLS + f"switches: {{certificates: {{'00000000000000AB': [{DIGITS}, '{other}']}}}}\n"))

    assert config.switches.certificates == {0xAB: {DIGITS, other}}


@pytest.mark.parametrize(
    "line", [f"sha256 Fingerprint={COLONS}", f"SHA256 Fingerprint={COLONS}", f" {COLONS} ", DIGITS]
)
def test_a_fingerprint_may_be_the_line_that_openssl_prints(written, line):
    path = written(TLS + f"switches: {{certificates: {{'0000000000000001': '{line}'}}}}\n")

    assert load_config(path).switches.certificates == {1: {DIGITS}}


def test_a_fingerprint_of_another_hash_is_refused(written):
    line = "sha1 Fingerprint=" + COLONS[: 20 * 3 - 1]

    assert "is no fingerprint" in refusal(written(f"switches: {{certificates: {{'0000000000000001': '{line}'}}}}\n"))


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
    config = Config(
        openflow="[::1]:1",
        openflow_tls={"certificate": "c.pem", "key": "k.pem", "authority": "a.pem"},
        switches={"allowed": ["00000000000000ab"], "certificates": {"00000000000000ab": COLONS}},
    )

    printed = json.loads(config.model_dump_json())

    assert printed["openflow"] == "[::1]:1"
    assert printed["switches"] == {"allowed": ["00000000000000ab"], "certificates": {"00000000000000ab": [DIGITS]}}
    assert Config.model_validate(printed) == config


@pytest.mark.parametrize("text", ["127.0.0.1:6653", "[::1]:6653", "10.1.2.3:0"])
def test_an_endpoint_prints_as_it_was_written(text):
    assert str(Endpoint.parse(text)) == text


def test_localhost_and_urls_are_endpoints_too():
    assert Endpoint.parse("http://localhost:8080/") == Endpoint("127.0.0.1", 8080)
