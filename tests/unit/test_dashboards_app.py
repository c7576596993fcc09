"""How the dashboards refuse to start, in one sentence and with exit code 1."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from slotmeter_dashboards.app import main

API = "http://127.0.0.1:1"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "viewer.key"
    path.write_text("smk_of_a_viewer\n")
    return path


def test_a_port_in_use_is_named(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code = main(["--api", API, "--key-file", str(key_file), "--port", str(port)])

    assert code == 1
    assert capsys.readouterr().err == (
        f"slotmeter-dashboards: the console cannot listen on 127.0.0.1 port {port}: "
        "Address already in use\n"
    )


def test_a_key_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--api", API, "--key-file", str(tmp_path / "none.key"), "--port", "0"])

    assert code == 1
    assert "none.key cannot be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "two words", "smk_\x07", "smk_ü"])
def test_a_key_file_with_something_else_is_refused_without_showing_it(
    key_file: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file.write_text(content)

    code = main(["--api", API, "--key-file", str(key_file), "--port", "0"])

    said = capsys.readouterr().err
    assert code == 1
    assert said.startswith("slotmeter-dashboards: expected")
    assert not content or content not in said


@pytest.mark.parametrize("url", ["127.0.0.1:8480", "ftp://127.0.0.1", "http://", "8480"])
def test_an_address_that_is_none_is_refused(
    key_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--api", url, "--key-file", str(key_file), "--port", "0"])

    assert code == 1
    assert "expected --api as http://HOST:PORT" in capsys.readouterr().err


def test_a_password_in_the_address_is_refused_without_showing_it(
    key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--api", "http://me:hush@127.0.0.1", "--key-file", str(key_file), "--port", "0"])

    said = capsys.readouterr().err
    assert code == 1
    assert "hush" not in said
    assert "--key-file" in said


@pytest.mark.parametrize("prefix", ["/a?b", "/<x>", "a b"])
def test_a_prefix_that_no_path_can_have_is_refused(
    key_file: Path, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--api", API, "--key-file", str(key_file), "--port", "0", "--prefix", prefix]

    assert main(at) == 1
    assert "expected --prefix as a plain path" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", "0"), ("127.0.0.1", "70000")])
def test_what_cannot_be_listened_on_is_named(
    key_file: Path, host: str, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--api", API, "--key-file", str(key_file), "--host", host, "--port", port])

    assert code == 1
    assert f"cannot listen on {host} port {port}" in capsys.readouterr().err


def test_the_help_names_the_ports_that_the_platform_takes_by_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    said = capsys.readouterr().out
    assert "http://127.0.0.1:8480" in said
    assert "default 8481" in said
