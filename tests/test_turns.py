from threading import Thread

from pyrosynth.live.turns import Turns


def test_turns_are_had_in_the_order_of_asking():
    turns, had = Turns(), []
    first = turns.ask()
    assert first.is_set()
    asked = [turns.ask() for _ in range(3)]

    def take(number):
        assert asked[number].wait(60)
        had.append(number)
        turns.leave(asked[number])

    threads = [Thread(target=take, args=(number,)) for number in (2, 0)]
    for thread in threads:
        thread.start()
    assert not any(one.is_set() for one in asked)
    turns.leave(asked[1])  # who waits no longer
    assert not had
    turns.leave(first)
    for thread in threads:
        thread.join()
    assert had == [0, 2]
    with turns:
        late = turns.ask()
        assert not late.is_set()
    assert late.is_set()
