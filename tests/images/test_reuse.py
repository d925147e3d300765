import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from backlight.images import Preprocessing, SequenceSource, load_batches
from backlight.images.decode import decode_unnamed
from backlight.images.reuse import reused_memory
from images.pictures import encoded


@pytest.fixture(autouse=True)
def _as_it_was():
    before = Image.core.get_blocks_max()
    Image.core.set_blocks_max(0)
    yield
    Image.core.set_blocks_max(before)


def test_memory_is_kept_inside_and_given_back_at_the_end():
    data = encoded(Image.new("RGB", (900, 800)))
    with reused_memory():
        decode_unnamed(data)
        assert Image.core.get_stats()["blocks_cached"] > 0
        with reused_memory():
            decode_unnamed(data)
        assert Image.core.get_stats()["blocks_cached"] > 0, "blocks overlap"
    assert (Image.core.get_stats()["blocks_cached"], Image.core.get_blocks_max()) == (0, 0)


def test_what_the_program_has_set_stays():
    Image.core.set_blocks_max(40)
    with reused_memory():
        assert Image.core.get_blocks_max() == 40
        Image.core.set_blocks_max(3)
    assert Image.core.get_blocks_max() == 3


def test_it_ends_where_the_block_is_left_by_an_error():
    with pytest.raises(KeyError, match="no"), reused_memory():
        raise KeyError("no")
    assert Image.core.get_blocks_max() == 0


def test_threads_do_not_mix_pictures_up():
    pictures = [encoded(Image.new("RGB", (300 + i, 200), (i, i, i))) for i in range(40)]
    with reused_memory(), ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda data: decode_unnamed(data).getcolors(), pictures * 3))
    assert found == [[((300 + i) * 200, (i, i, i))] for i in range(40)] * 3


def test_batches_reuse_memory_and_give_it_back():
    source = SequenceSource([Image.open(io.BytesIO(encoded(Image.new("RGB", (900, 800))))) for _ in range(4)])
    batches = load_batches(source, Preprocessing.default(3, 8), range(4), batch_size=1)
    next(batches)
    assert Image.core.get_blocks_max() == 8
    batches.close()
    assert (Image.core.get_stats()["blocks_cached"], Image.core.get_blocks_max()) == (0, 0)
