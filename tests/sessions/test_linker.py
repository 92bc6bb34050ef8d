"""Which session a call belongs to: the most trusted evidence decides."""

from __future__ import annotations

from ocproxy.model import Identity
from ocproxy.sessions.linker import (
    Evidence,
    Known,
    Link,
    link_by_evidence,
    link_identified,
    link_to_summarised,
    session_key,
)

FIRST = Evidence(histories=["h1"], first_answer=0, answered=0, tool_use_ids=[])
LATER = Evidence(histories=["h1", "h2", "h3"], first_answer=2, answered=2, tool_use_ids=["t2", "t1"])


def test_a_call_that_names_its_session_is_in_it() -> None:
    link = link_identified(Identity(agent="claude-code", session="uuid"))
    assert link is not None
    assert (link.session_id, link.how, link.parent_id) == (session_key("claude-code", "uuid"), "identity", None)


def test_a_call_that_names_none_is_linked_by_what_it_shows() -> None:
    assert link_identified(Identity(agent="generic")) is None


def test_a_subagent_is_a_child_of_the_main_agent_or_of_the_subagent_that_made_it() -> None:
    child = link_identified(Identity(agent="a", session="s", agent_id="x"))
    grandchild = link_identified(Identity(agent="a", session="s", agent_id="y", parent_agent_id="x"))
    assert child is not None
    assert grandchild is not None
    assert child.parent_id == session_key("a", "s")
    assert grandchild.parent_id == child.session_id


def test_the_continuation_of_a_known_history_is_in_its_session() -> None:
    known = [Known("h1", "other", True), Known("h2", "mine", False)]
    assert link_by_evidence(LATER, known, {}, "new").session_id == "mine"


def test_a_shared_first_message_alone_links_nothing() -> None:
    link = link_by_evidence(FIRST, [Known("h1", "other", True)], {}, "new")
    assert (link.session_id, link.how) == ("new", "new")
    link = link_by_evidence(LATER, [Known("h1", "other", True), Known("h3", "other", True)], {}, "new")
    assert (link.session_id, link.how) == ("new", "new")


def test_a_first_request_that_was_never_answered_is_retried_in_its_session() -> None:
    link = link_by_evidence(FIRST, [Known("h1", "answered", True), Known("h1", "waiting", False)], {}, "new")
    assert (link.session_id, link.how) == ("waiting", "retry")


def test_the_newest_tool_result_links_where_no_history_does() -> None:
    link = link_by_evidence(LATER, [], {"t1": ["old"], "t2": ["mine"]}, "new")
    assert (link.session_id, link.how) == ("mine", "tool use")


def test_of_sessions_with_the_same_history_the_newest_that_waits_is_continued() -> None:
    waiting, answered = Known("h2", "waiting", False), Known("h2", "answered", True)
    assert link_by_evidence(LATER, [waiting, answered], {}, "new").session_id == "waiting"
    assert link_by_evidence(LATER, [Known("h2", "older", False), waiting], {}, "new").session_id == "waiting"
    assert link_by_evidence(LATER, [Known("h2", "older", True), answered], {}, "new").session_id == "answered"


def test_of_sessions_with_the_same_history_the_one_that_was_handed_the_call_ids_is_continued() -> None:
    known = [Known("h2", "mine", False), Known("h2", "twin", False)]
    assert link_by_evidence(LATER, known, {"t2": ["mine"]}, "new").session_id == "mine"
    assert link_by_evidence(LATER, known, {"t2": ["gone"], "t1": ["mine"]}, "new").session_id == "mine"
    assert link_by_evidence(LATER, known, {"t2": ["mine", "twin"]}, "new").session_id == "twin"


def test_a_call_id_of_several_sessions_links_nothing() -> None:
    assert link_by_evidence(LATER, [], {"t2": ["a", "b"]}, "new").session_id == "new"
    assert link_by_evidence(LATER, [], {"t2": ["a", "b"], "t1": ["a"]}, "new").session_id == "a"


def test_a_new_conversation_that_begins_with_a_summary_is_the_session_that_was_given_it() -> None:
    new = Link("new", "new")
    assert link_to_summarised(new, {"mine"}) == Link("mine", "summary")
    assert link_to_summarised(new, {"mine", "other"}) == new
    assert link_to_summarised(new, set()) == new
    known = Link("known", "history")
    assert link_to_summarised(known, {"mine"}) == known
