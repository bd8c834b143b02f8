"""packaging/neuron/cloudformation.yaml: cfn-lint passes it and fails broken ones; who may connect, what the instance may do, what
its first start runs — the script in it is run for real, with stand-ins for git and curl."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import decode_str

from chatapp.domain.neuron_hosts import HOSTS

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "packaging" / "neuron" / "cloudformation.yaml"
TOOLS = Path(sys.executable).parent
HASH = "$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1"
"""What `openssl passwd -6 -salt abc secret` prints."""
PAIRS = {
    "llama-2-70b-and-7b": ("Llama-2-70B", "Llama-2-7B"),
    "llama-3-70b-and-8b": ("Llama-3-70B", "Llama-3-8B"),
    "llama-2-7b-and-tinyllama": ("Llama-2-7B", "TinyLlama-1.1B"),
    "llama-3-8b-and-1b": ("Llama-3-8B", "Llama-3.2-1B"),
}
SYSTEM_GIB = 60
"""The image with a desktop and the libraries, and room to work; an assumption."""
GIB = 1024**3


def decoded(text: str) -> dict[str, Any]:
    """The template as plain values: `!Ref X` is {"Ref": "X"}."""
    template, errors = decode_str(text)
    assert not errors
    plain: dict[str, Any] = json.loads(json.dumps(template))
    return plain


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return decoded(TEMPLATE.read_text())


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TOOLS / "cfn-lint"), str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_cfn_lint_passes_it() -> None:
    done = lint(TEMPLATE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("HttpTokens: required", "HttpTokens: perhaps"),
        ("Encrypted: true", "Encripted: true"),
        ("!Ref AllowedCidr", "!Ref AllowedNetwork"),
        ("!GetAtt Template.LatestVersionNumber", "!GetAtt Template.NewestVersion"),
        ("Type: AWS::EC2::SecurityGroup", "Type: AWS::EC2::SecureGroup"),
    ],
)
def test_cfn_lint_fails_a_broken_one(tmp_path: Path, right: str, wrong: str) -> None:
    text = TEMPLATE.read_text()
    assert right in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(right, wrong))
    assert lint(broken).returncode != 0


def matches(template: dict[str, Any], parameter: str, value: str) -> bool:
    """CloudFormation asks the whole value to match."""
    return re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], value) is not None


@pytest.mark.parametrize("network", ["203.0.113.7/32", "10.0.0.0/8", "192.168.1.0/24", "255.255.255.255/32"])
def test_one_network_may_connect(template: dict[str, Any], network: str) -> None:
    assert matches(template, "AllowedCidr", network)


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/0", "203.0.113.7/0", "203.0.113.7/00", "10.0.0.0/1", "10.0.0.0/7", "203.0.113.7", "::/0"),
        *("256.0.0.0/8", "1.2.3/24", "203.0.113.7/33", "0.0.0.0/0,1.2.3.4/32", "203.0.113.7/32\n", ""),
    ],
)
def test_the_whole_internet_may_not(template: dict[str, Any], network: str) -> None:
    assert not matches(template, "AllowedCidr", network)


def test_what_a_person_must_decide_has_no_default(template: dict[str, Any]) -> None:
    without = {name for name, one in template["Parameters"].items() if "Default" not in one}
    assert without == {"AllowedCidr", "PasswordHash", "VpcId", "SubnetId", "RepositoryUrl"}


def test_the_password_is_a_hash_that_is_not_shown(template: dict[str, Any]) -> None:
    assert template["Parameters"]["PasswordHash"]["NoEcho"] is True
    assert matches(template, "PasswordHash", HASH)
    for wrong in ("secret", HASH[:-1], HASH + "'", "$1$abc$" + HASH[7:], HASH.replace("abc", "a'c")):
        assert not matches(template, "PasswordHash", wrong)


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("RepositoryUrl", "http://example.org/a.git"),
        ("RepositoryUrl", "https://example.org:8443/a.git"),  # no way out to that port
        ("RepositoryUrl", "https://example.org/a'b"),
        ("RepositoryUrl", "https://example.org/$(id)"),
        ("RepositoryRevision", "--upload-pack=x"),
        ("RepositoryRevision", "a b"),
        ("RepositoryRevision", "a'b"),
        ("ImageId", "latest"),
    ],
)
def test_nothing_gets_out_of_its_quotes(template: dict[str, Any], parameter: str, wrong: str) -> None:
    assert not matches(template, parameter, wrong)


def test_only_dcv_is_open_and_only_to_that_network(template: dict[str, Any]) -> None:
    rules = template["Resources"]["SecurityGroup"]["Properties"]["SecurityGroupIngress"]
    conditional = [rule["Fn::If"] for rule in rules if "Fn::If" in rule]
    plain = [rule for rule in rules if "Fn::If" not in rule]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in plain] == [
        ("tcp", 8443, 8443),
        ("udp", 8443, 8443),
    ]
    ((condition, ssh, otherwise),) = conditional
    assert (condition, ssh["FromPort"], ssh["ToPort"]) == ("HasKey", 22, 22)
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert template["Parameters"]["KeyName"]["Default"] == ""
    for rule in (*plain, ssh):
        assert rule["CidrIp"] == {"Ref": "AllowedCidr"}
        assert "CidrIpv6" not in rule


def test_the_role_reads_dcvs_licence_and_nothing_else(template: dict[str, Any]) -> None:
    role = template["Resources"]["Role"]["Properties"]
    assert "ManagedPolicyArns" not in role
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::dcv-license.${AWS::Region}/*"},
    }


def test_volume_and_metadata_service(template: dict[str, Any]) -> None:
    data = template["Resources"]["Template"]["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True
    assert disk["Ebs"]["VolumeType"] == "gp3"
    assert disk["Ebs"]["DeleteOnTermination"] is True


def test_the_instances_are_those_that_the_planner_knows(template: dict[str, Any]) -> None:
    known = {host.name for host in HOSTS}
    assert set(template["Parameters"]["InstanceType"]["AllowedValues"]) == known


@pytest.mark.parametrize("pair", PAIRS)
def test_the_volume_holds_the_pair_twice_while_it_is_downloaded(template: dict[str, Any], pair: str) -> None:
    target, draft = PAIRS[pair]
    command = [sys.executable, "-m", "chatapp", "plan", "--json", "--instance", "trn1.32xlarge"]
    done = subprocess.run(
        [*command, "--target", target, "--draft", draft],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    disk = json.loads(done.stdout)["disk"]
    needed = 2 * disk["checkpoint_bytes"] + disk["artefact_bytes"] + SYSTEM_GIB * GIB
    assert template["Mappings"]["Volumes"][pair]["Gibibytes"] * GIB >= needed


def test_every_pair_has_a_volume(template: dict[str, Any]) -> None:
    pairs = template["Parameters"]["Pair"]["AllowedValues"]
    assert set(pairs) == set(template["Mappings"]["Volumes"]) == {*PAIRS, "built-in"}


# --- the first start


class FirstStart:
    """The script of the user data, with values for the template's names, on a machine that stands in a folder."""

    def __init__(self, folder: Path, template: dict[str, Any], setup_host: str) -> None:
        text, _ = template["Resources"]["Instance"]["Properties"]["UserData"]["Fn::Base64"]["Fn::Sub"]
        values = {
            "Handle": "https://example.invalid/handle?signed=yes",
            "Release": "ubuntu-22.04",
            "System": "ubuntu-22.04",
            "PasswordHash": HASH,
            "RepositoryUrl": "https://example.org/chatapp.git",
            "RepositoryRevision": "v1",
            "Library": "tnx",
        }
        for name, value in values.items():
            text = text.replace("${" + name + "}", value)
        assert "${" not in text
        self.text = text
        for place in ("/etc/os-release", "/opt/chatapp", "/var/log/chatapp-setup.log", "/dev/console"):
            text = text.replace(place, str(folder / place.rpartition("/")[2]))
        self.folder = folder
        self._local = text
        (folder / "bin").mkdir()
        self.release("ubuntu", "22.04")
        self._tool("git", f'echo "git $*" >>{folder}/calls; if [ "$1" = clone ]; then '
                   f'mkdir -p "${{@: -1}}/packaging/neuron"; cp {folder}/setup-host "${{@: -1}}/packaging/neuron"; fi')  # fmt: skip
        self._tool("curl", f'printf "%s\\n" "$@" >>{folder}/told')
        (folder / "setup-host").write_text(setup_host)

    def release(self, id: str, version: str) -> None:
        (self.folder / "os-release").write_text(f'ID={id}\nVERSION_ID="{version}"\n')

    def _tool(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self) -> str:
        """What the stack is told; the log is waited for, for `tee` writes it."""
        subprocess.run(
            ["bash", "-c", self._local + "\nexec >&- 2>&-\nwait\n"],
            env=os.environ | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            timeout=60,
        )
        body = (self.folder / "told").read_text().splitlines()
        assert body[-1] == "https://example.invalid/handle?signed=yes"
        status: str = json.loads(body[-2])["Status"]
        return status

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


def test_the_first_start_sets_the_host_up_and_says_so(tmp_path: Path, template: dict[str, Any]) -> None:
    start = FirstStart(tmp_path, template, f'echo "$*|$CHATAPP_PASSWORD_HASH" >{tmp_path}/given')
    assert start.run() == "SUCCESS"
    assert (tmp_path / "given").read_text() == f"--library tnx|{HASH}\n"
    assert start.calls == [
        f"git clone --no-checkout -- https://example.org/chatapp.git {tmp_path}/chatapp",
        f"git -C {tmp_path}/chatapp checkout --detach v1",
    ]
    assert HASH not in (tmp_path / "chatapp-setup.log").read_text()


def test_a_set_up_that_fails_fails_the_stack(tmp_path: Path, template: dict[str, Any]) -> None:
    assert FirstStart(tmp_path, template, "exit 1").run() == "FAILURE"


def test_a_clone_that_fails_fails_the_stack(tmp_path: Path, template: dict[str, Any]) -> None:
    start = FirstStart(tmp_path, template, f"touch {tmp_path}/ran")
    start._tool("git", "exit 128")
    assert start.run() == "FAILURE"
    assert not (tmp_path / "ran").exists()


def test_an_image_of_another_system_fails_the_stack(tmp_path: Path, template: dict[str, Any]) -> None:
    start = FirstStart(tmp_path, template, f"touch {tmp_path}/ran")
    start.release("amzn", "2023")
    assert start.run() == "FAILURE"
    assert not (tmp_path / "ran").exists()


def test_shellcheck_passes_the_first_start(tmp_path: Path, template: dict[str, Any]) -> None:
    script = tmp_path / "first-start"
    script.write_text(FirstStart(tmp_path, template, "").text)
    command = [str(TOOLS / "shellcheck"), "--exclude=SC2016,SC2181,SC1091", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
