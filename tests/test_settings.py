"""Settings: where values come from, what is accepted, and what an error says."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from assistant.errors import SettingsError
from assistant.settings import KINDS, Settings, variable

SECRET = "sk-very-secret-value"

BAD_VALUES = [
    ("port", "0", "a whole number from 1 to 65535"),
    ("port", "65536", "a whole number from 1 to 65535"),
    ("port", "-1", "a whole number from 1 to 65535"),
    ("port", "80.5", "a whole number from 1 to 65535"),
    ("port", "http", "a whole number from 1 to 65535"),
    ("port", "9" * 5000, "a whole number from 1 to 65535"),
    ("threads", "0", "a whole number from 1 to 1024"),
    ("threads", "1025", "a whole number from 1 to 1024"),
    ("state_gb", "-1", "a number of gigabytes from 0 to 1000"),
    ("state_gb", "nan", "a number of gigabytes from 0 to 1000"),
    ("state_gb", "lots", "a number of gigabytes from 0 to 1000"),
    ("threads", "many", "a whole number from 1 to 1024"),
    ("keep_questions", "maybe", "1 or 0"),
    ("proxies", "11", "how many proxies of yours stand in front"),
    ("questions_a_minute", "-1", "a whole number of questions, or 0 for no limit"),
    ("questions_a_day", "many", "a whole number of questions, or 0 for no limit"),
    ("questions_a_day_in_all", "1.5", "a whole number of questions, or 0 for no limit"),
    ("keep_questions", "2", "1 or 0"),
    ("model", "https://", "an http(s) address"),
    ("model", "http:///v1", "an http(s) address"),
    ("model", "two\nlines", "a name"),
    ("embedder", "two\nlines", "a hub id"),
    ("knowledge", "two\nlines", "the path of a folder"),
    ("knowledge", "~no-such-user-here/docs", "the path of a folder"),
    ("index", "bell\x07here", "the path of a folder"),
    ("cache", "two\nlines", "the path of a folder"),
    ("host", "two\nlines", "such as 127.0.0.1"),
    ("title", "two\nlines", "one line of text"),
    ("greeting", "two\r\nlines", "one line of text"),
    ("contact", "two\nlines", "one line of text"),
    ("judge", "two\nlines", "a cross-encoder's folder or hub id"),
    ("questions", "two\nlines", "separated by |"),
    ("model_name", "two\nlines", "one line of text"),
    ("metrics", "yes please", "1 or 0"),
    ("log", "loud", "1 or 0"),
]

BAD_SITES = [
    "*",
    "https://*.example.org",
    "https://example.org/path",
    "https://example.org?query",
    "https://example.org#fragment",
    "javascript:alert(1)",
    "javascript://example.org",
    "data:text/html,x",
    "file:///etc/passwd",
    "example.org",
    "//example.org",
    "https://",
    "https://user@example.org",
    "https://user:password@example.org",
    "https://:password@example.org",
    "https://@example.org",
    "https://[::1",
    "https://example.org:port",
    "https://example.org:99999",
    "https://example.org;script-src",
    "https://example.org'none'",
    "https://example.org\\path",
    "https://beispiel.österreich",  # a header is ASCII: punycode is the way to write it
    "https://good.example https://bad.example/path",
]


def read(**values: str) -> Settings:
    return Settings.from_environment({variable(name): value for name, value in values.items()})


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.knowledge == Path("knowledge")
    assert settings.index == Path("index")
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)
    assert settings.sites == ()
    assert not settings.keep_questions
    assert settings.frame_ancestors == ("'self'",)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("value", ["", "   ", "\t"])
def test_a_blank_value_is_no_value(value: str) -> None:
    assert read(port=value, title=value) == Settings()


def test_every_variable_is_read() -> None:
    settings = read(
        knowledge="docs",
        index="where/index",
        model="smollm2-135m",
        embedder="somebody/embedder",
        cache="cache",
        host="0.0.0.0",
        port="8080",
        sites="https://example.org",
        threads="3",
        state_gb="0.5",
        title=" Kitchen ",
        greeting="Hello.",
        contact="help@example.org",
        judge="somebody/judge",
        model_name="gpt",
        model_key=SECRET,
        keep_questions="1",
    )
    assert settings == Settings(
        knowledge=Path("docs"),
        index=Path("where/index"),
        model="smollm2-135m",
        embedder="somebody/embedder",
        cache=Path("cache"),
        host="0.0.0.0",
        port=8080,
        sites=("https://example.org",),
        threads=3,
        state_gb=0.5,
        title="Kitchen",
        greeting="Hello.",
        contact="help@example.org",
        judge="somebody/judge",
        model_name="gpt",
        model_key=SECRET,
        keep_questions=True,
    )


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False)])
def test_a_switch_is_read_in_several_words(text: str, value: bool) -> None:
    assert read(keep_questions=text).keep_questions is value


def test_a_folder_may_begin_with_the_home_folder() -> None:
    assert read(knowledge="~/docs").knowledge == Path.home() / "docs"


def test_dot_env_is_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nASSISTANT_TITLE='From a file'\nexport ASSISTANT_PORT=8081\nSYSTEM=spaces\n")
    settings = Settings.from_environment(folder=tmp_path)
    assert (settings.title, settings.port, settings.on_spaces) == ("From a file", 8081, True)


def test_the_environment_wins_over_dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ASSISTANT_TITLE=file\nASSISTANT_PORT=8081\n")
    monkeypatch.setenv("ASSISTANT_TITLE", "environment")
    settings = Settings.from_environment(folder=tmp_path)
    assert (settings.title, settings.port) == ("environment", 8081)


def test_a_given_environment_reads_no_dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ASSISTANT_TITLE=file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSISTANT_TITLE", "environment")
    assert Settings.from_environment({}).title == "Groundwork"


def test_a_bad_value_in_dot_env_is_named_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ASSISTANT_PORT=none\n")
    with pytest.raises(SettingsError, match=r"ASSISTANT_PORT is 'none'.*a whole number from 1 to 65535"):
        Settings.from_environment(folder=tmp_path)


def test_a_dot_env_that_is_not_utf8_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("ASSISTANT_TITLE=café\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env.*UTF-8"):
        Settings.from_environment(folder=tmp_path)


@pytest.mark.parametrize(("name", "value", "accepted"), BAD_VALUES)
def test_a_bad_value_is_named_with_its_variable_and_what_is_accepted(name: str, value: str, accepted: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{variable(name)} is {value!r}")
    assert accepted in message
    assert "\n" not in message


def test_every_setting_but_the_keys_and_the_sites_has_a_bad_value_above() -> None:
    assert {name for name, _, _ in BAD_VALUES} == set(KINDS) - {"model_key", "api_key", "auth", "sites"}


def test_the_key_is_never_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read(model_key=f"{SECRET}\nand more")
    message = str(caught.value)
    assert message.startswith("ASSISTANT_MODEL_KEY is (hidden)")
    assert "one line of ASCII characters" in message
    assert SECRET not in message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("login", [SECRET, f":{SECRET}", f"{SECRET}:", f"{SECRET}:two\nlines"])
def test_a_login_needs_a_name_and_a_password_and_is_never_shown(login: str) -> None:
    with pytest.raises(SettingsError, match="a name and a password, joined by a colon") as caught:
        read(auth=login)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(read(auth=f"ada:{SECRET}"))


def test_the_key_is_not_in_what_is_printed_of_the_settings() -> None:
    settings = read(model_key=SECRET)
    assert settings.model_key == SECRET
    assert SECRET not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("text", "sites"),
    [
        ("https://example.org", ("https://example.org",)),
        ("HTTPS://Example.ORG/", ("https://example.org",)),
        ("http://localhost:3000/", ("http://localhost:3000",)),
        ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
        (" https://a.example ,\n https://b.example ", ("https://a.example", "https://b.example")),
        ("https://[::1]:8443", ("https://[::1]:8443",)),
        (",", ()),
    ],
)
def test_sites_are_read_as_origins(text: str, sites: tuple[str, ...]) -> None:
    settings = read(sites=text)
    assert settings.sites == sites
    assert settings.frame_ancestors == ("'self'", *sites)


@pytest.mark.parametrize("text", BAD_SITES)
def test_what_is_no_plain_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(sites=text)
    message = str(caught.value)
    assert message.startswith(f"ASSISTANT_SITES is {text!r}")
    assert "origins such as https://example.org" in message


def test_a_space_listens_to_the_hub_and_may_be_framed_by_it() -> None:
    settings = Settings.from_environment({"SYSTEM": "spaces", "ASSISTANT_SITES": "https://example.org"})
    assert settings.on_spaces
    assert settings.host == "0.0.0.0"
    assert settings.frame_ancestors == (
        "'self'",
        "https://example.org",
        "https://huggingface.co",
        "https://*.hf.space",
    )


def test_a_host_that_is_set_wins_on_a_space_too() -> None:
    assert Settings.from_environment({"SYSTEM": "spaces", "ASSISTANT_HOST": "127.0.0.1"}).host == "127.0.0.1"


def test_another_system_is_no_space() -> None:
    assert Settings.from_environment({"SYSTEM": "linux"}) == Settings()


def test_folders_of_the_command_line_win() -> None:
    settings = read(knowledge="docs", index="there")
    assert settings.with_folders("other", None) == read(knowledge="other", index="there")
    assert settings.with_folders(None, "here") == read(knowledge="docs", index="here")


def test_threads_are_all_cores_unless_set() -> None:
    assert read(threads="3").thread_count == 3
    assert Settings().thread_count >= 1
