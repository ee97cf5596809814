import random
from collections import Counter

import pytest

from services.simulator.streams import SimulatedMessage, deliver


def stated(people: int = 40, each: int = 6) -> list[SimulatedMessage]:
    return [
        SimulatedMessage(
            feed="mercy",
            control_id=f"{place}",
            payload=f"{place}".encode(),
            story="home",
            patient_key=f"person-{place % people}",
        )
        for place in range(people * each)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_message_arrives_with_the_bytes_it_was_stated_with(seed: int) -> None:
    messages = stated()
    delivered = deliver(messages, random.Random(seed))
    assert {message.payload for message in delivered} == {message.payload for message in messages}
    first_copies = [message for message in delivered if not message.copy]
    assert Counter(message.control_id for message in first_copies) == Counter(m.control_id for m in messages)


@pytest.mark.parametrize("seed", range(20))
def test_some_messages_come_twice_and_some_come_before_what_was_stated_earlier(seed: int) -> None:
    messages = stated()
    delivered = deliver(messages, random.Random(seed))
    assert any(message.copy for message in delivered)
    by_person: dict[str, list[int]] = {}
    for message in delivered:
        if not message.copy:
            by_person.setdefault(message.patient_key, []).append(int(message.control_id))
    in_order = [own == sorted(own) for own in by_person.values()]
    assert any(in_order)
    assert not all(in_order)


def test_a_repeat_comes_after_its_original() -> None:
    delivered = deliver(stated(), random.Random(3))
    places = {(message.payload, message.copy): place for place, message in enumerate(delivered)}
    repeats = [(payload, copy) for payload, copy in places if copy]
    assert repeats
    assert all(places[payload, 0] < places[payload, copy] for payload, copy in repeats)


def test_one_message_alone_is_delivered() -> None:
    assert {message.control_id for message in deliver(stated(people=1, each=1), random.Random(1))} == {"0"}
