"""How much memory is free, as a container's files say it."""

from zoo import memory


def test_files_kept_in_memory_count_as_free(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("990000\n")
    assert memory.host_available_bytes() == 10_000
    (tmp_path / "memory.stat").write_text("anon 90000\ninactive_file 900000\nactive_file 0\n")
    assert memory.host_available_bytes() == 910_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.host_available_bytes() > 10**6
