"""What nandu-img and nandu-io say of themselves against their manual pages and the completion of bash."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import TOP, build_folder, run


def tool(name):
    return os.path.join(build_folder(), name)


def manual(name):
    with open(os.path.join(TOP, "man", f"{name}.1"), encoding="utf-8") as f:
        return re.sub(r"\\f[A-Z]", "", f.read()).replace("\\-", "-")


def options(text):
    return re.findall(r"^ +(?:(-\w), )?(--[a-z-]+)", text, re.M)


def test_manual_of_io():
    text = manual("nandu-io")
    missing = [long for _, long in options(run([tool("nandu-io"), "--help"]).text) if long not in text]
    commands = re.findall(r"^([a-z_]+) .*-- ", run([tool("nandu-io"), "-c", "help"]).text, re.M)
    assert len(commands) > 25
    missing += [name for name in commands if f"\n{name}" not in text]
    assert not missing, missing


def test_manual_of_img():
    text = manual("nandu-img")
    commands = re.findall(r"^  ([a-z]+) - ", run([tool("nandu-img"), "--help"]).text, re.M)
    assert len(commands) > 10
    missing = [name for name in commands if name not in text]
    missing += [(name, long) for name in commands for _, long in options(run([tool("nandu-img"), name, "--help"]).text)
                if long not in text]
    assert not missing, missing


COMPLETIONS = [
    ("nandu-img co", "commit compare convert"), ("nandu-img convert --target-f", "--target-format"),
    ("nandu-img convert -O qc", "qcow2"), ("nandu-img convert -t wr", "writeback writethrough"),
    ("nandu-img map --output j", "json"), ("nandu-img check --repair l", "leaks"),
    ("nandu-img create -f qcow2 -o comp", "compat= compression_type="),
    ("nandu-img convert -f raw -O luks a b -o key", "key-secret="), ("nandu-img info im", "image"),
    ("nandu-io -c wr", "write writev"), ("nandu-io -c zone_r", "zone_report zone_reset"), ("nandu-io --im", "--image-opts"),
    ("nandu-io -f vm", "vmdk"), ("nandu-io -i n", "native"),
]


@pytest.mark.parametrize("line,expected", COMPLETIONS)
def test_completion(line, expected, tmp_path):
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    (tmp_path / "image").touch()
    script = (f"source {TOP}/tools/completion.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
              "read -ra f < <(complete -p $COMP_WORDS); ${f[-2]}; echo ${COMPREPLY[*]}")
    environment = {**os.environ, "PATH": f"{build_folder()}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == (expected, "")
