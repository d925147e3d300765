"""Short runs of the fuzzers of pictures, lists and shards; the long ones are scripts (`make fuzz`)."""

from fuzz import pictures, shards


def test_damaged_pictures_arrays_and_lists():
    counts = pictures.run(200, seed=1)
    assert counts.raw == []
    assert counts.read + counts.refused + len(counts.hangs) == 200
    assert counts.refused > 50


def test_damaged_shards():
    counts = shards.run(150, seed=1)
    assert counts.raw == []
    assert counts.refused > 50


def test_the_same_seed_gives_the_same_cases():
    one, other = (pictures.run(30, seed=2) for _ in range(2))
    assert (one.read, one.refused) == (other.read, other.refused)
