"""Pictures found by the last parts of their names, as a search through all of them finds them."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from diffagiqa.data.names import NameIndex, path_parts, shared_parts

paths = st.lists(st.sampled_from(["a", "b", "a\0", "b.png", "狐.png", ".", ""]), max_size=4).map(
    "/".join
)


@given(st.lists(paths, max_size=12), paths)
def test_the_index_finds_what_a_search_finds(names: list[str], image: str) -> None:
    own = path_parts(image)[::-1]
    shared = {name: shared_parts(own, path_parts(name)[::-1]) for name in names}
    most = max(shared.values(), default=0)
    alike = [name for name, count in shared.items() if count == most and count]
    assert NameIndex(names).find(image) == ([image] if image in names else alike)


def test_a_folder_for_every_picture_is_no_hang() -> None:
    count = 5000
    began = time.process_time()
    index = NameIndex(f"renders/{i}/0.png" for i in range(count))
    for i in range(count):
        assert index.find(f"/data/renders/{i}/0.png") == [f"renders/{i}/0.png"]
    assert time.process_time() - began < 5  # with every name of that last part, half a minute
