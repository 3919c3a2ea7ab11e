"""Tests of code that changes: written, patched, unmapped and mapped again while it is in use."""

from program import Program
from rv_encodings import encode
from rvasm import (A0, A1, A2, A3, A5, CODE, RA, S0, S1, S2, S8, SYS_FLUSH_ICACHE, SYS_MPROTECT, T0,
                   T1)

SYS_MMAP, SYS_MUNMAP = 222, 215
RWX, RW, RX = 7, 3, 5
MAP_PRIVATE_ANONYMOUS, MAP_FIXED = 0x22, 0x10
WHERE = 0x30000000          # of the code that is made
RET = encode("jalr", 0, RA, 0)


def _map(p, prot, address=WHERE, size=8192):
    p.syscall(SYS_MMAP, address, size, prot, MAP_PRIVATE_ANONYMOUS | MAP_FIXED, -1, 0)


def _put(p, address, *words):
    """Store instructions at an address, without telling the processor."""
    p.li(T0, address)
    for n, word in enumerate(words):
        p.li(T1, word)
        p.i("sw", T1, T0, 4 * n)


def _call(p, address=WHERE):
    p.li(S0, address)
    p.i("jalr", RA, S0, 0)


def _addi(value):
    return encode("addi", A0, A0, value)


def test_patch(how):
    """A function that is changed between calls; a loop calls it from the same place."""
    p = Program()
    p.begin(f"patch, {how}")
    _map(p, RWX)
    p.i("addi", S2, 0, 0)
    p.li(S8, 60)
    # The instruction for the table: addi a0, a0, S8 is made by arithmetic.
    p.label("again")
    p.li(T1, _addi(0))
    p.i("slli", T0, S8, 20)
    p.i("add", T1, T1, T0)
    p.li(S0, WHERE)
    p.i("sw", T1, S0, 0)
    p.li(T1, RET)
    p.i("sw", T1, S0, 4)
    if how == "fence.i":
        p.i("fence.i")
    else:
        p.syscall(SYS_FLUSH_ICACHE, WHERE, WHERE + 8, 0)
        p.li(S0, WHERE)
    p.li(A0, 1000)
    p.i("jalr", RA, S0, 0)
    p.i("slli", T0, S2, 1)
    p.i("add", S2, T0, A0)
    p.i("addi", S8, S8, -1)
    p.to("bne", S8, 0, "again")
    p.store(S2, "sum of results")
    p.end()
    return p.finish()


def test_protect():
    """Written while it can't be executed; mprotect alone makes the change known."""
    p = Program()
    p.begin("mprotect")
    _map(p, RW)
    for value in (1, 2, 3, 100):
        p.syscall(SYS_MPROTECT, WHERE, 4096, RW)
        _put(p, WHERE, _addi(value), _addi(value), RET)
        p.syscall(SYS_MPROTECT, WHERE, 4096, RX)
        for turn in range(2):
            p.li(A0, 0)
            _call(p)
            p.store(A0, f"{value}, call {turn}")
    p.end()
    return p.finish()


def test_remap():
    """Other code at the same address by munmap and mmap, and by mmap over it."""
    p = Program()
    p.begin("mmap over code")
    for turn, value in enumerate((5, 6, 7, 8, 9)):
        if turn % 2:
            p.syscall(SYS_MUNMAP, WHERE, 8192)
        _map(p, RWX)
        _put(p, WHERE, _addi(value), RET)
        for _ in range(2):
            p.li(A0, 0)
            _call(p)
            p.store(A0, f"{value}")
    p.end()
    return p.finish()


def test_ahead():
    """Straight-line code that changes what comes next in its own page, then fence.i."""
    p = Program()
    p.begin("patch ahead")
    p.syscall(SYS_MPROTECT, CODE, 0x2000, RWX)
    p.li(A3, 0)
    p.li(S8, 20)
    p.label("again")
    p.li(T1, _addi(0))
    p.i("slli", T0, S8, 20)
    p.i("add", T1, T1, T0)
    p.i("auipc", S0, 0)
    p.i("sw", T1, S0, 20)
    p.i("fence.i")
    p.li(A0, 3)
    p.i("addi", A1, A1, 0)
    p.i("addi", A0, A0, 0)      # this one: 20 bytes behind the auipc
    p.i("slli", A3, A3, 1)
    p.i("add", A3, A3, A0)
    p.i("addi", S8, S8, -1)
    p.to("bne", S8, 0, "again")
    p.store(A3, "sum")
    p.end()
    return p.finish()


def test_links():
    """Blocks that jump to each other directly, also across pages; one of them is replaced."""
    p = Program()
    p.begin("linked blocks")
    _map(p, RWX, WHERE, 0x4000)
    # Four functions on pages of their own, each adds and jumps to the next; the last returns.
    for n in range(4):
        at = WHERE + 4096 * n + 64 * n
        following = WHERE + 4096 * (n + 1) + 64 * (n + 1)
        last = RET if n == 3 else encode("jal", 0, following - (at + 4))
        _put(p, at, _addi(1 << n), last)
    p.i("fence.i")
    for turn in range(3):
        p.li(A0, 0)
        _call(p)
        p.store(A0, f"before, {turn}")
    for n in (2, 0, 3, 1):
        _put(p, WHERE + 4160 * n, _addi(100 * (n + 1)))
        p.i("fence.i")
        for turn in range(2):
            p.li(A0, 0)
            _call(p)
            p.store(A0, f"{n} replaced, {turn}")
    # One of them goes away and comes back as another kind of code.
    p.syscall(SYS_MUNMAP, WHERE + 4096, 4096)
    _map(p, RWX, WHERE + 4096, 4096)
    _put(p, WHERE + 4160, _addi(7), RET)
    p.i("fence.i")
    p.li(A0, 0)
    _call(p)
    p.store(A0, "shorter")
    p.end()
    return p.finish()


def test_many():
    """A lot of code, made in the same place over and over: a cache fills with what is out of date."""
    p = Program()
    p.begin("many generations")
    _map(p, RWX, WHERE, 0x10000)
    p.li(S8, 150)
    p.li(S2, 0)
    p.label("again")
    # Fill 8 KiB with "addi a0, a0, S8 & 15; c.nop; c.xor..." and run it.
    p.li(S0, WHERE)
    p.li(S1, WHERE + 0x2000)
    p.li(T1, _addi(0))
    p.i("andi", T0, S8, 15)
    p.i("slli", T0, T0, 20)
    p.i("add", T1, T1, T0)
    p.label("fill")
    p.i("sw", T1, S0, 0)
    p.i("addi", S0, S0, 4)
    p.to("bne", S0, S1, "fill")
    p.li(T1, RET)
    p.i("sw", T1, S0, 0)
    p.i("fence.i")
    p.li(A0, 0)
    _call(p)
    p.i("add", S2, S2, A0)
    p.i("addi", S8, S8, -1)
    p.to("bne", S8, 0, "again")
    p.store(S2, "sum")
    p.end()
    return p.finish()


def test_return_to_new_code():
    """The code that a call will return to is replaced during the call."""
    p = Program()
    p.begin("return to new code")
    _map(p, RWX)
    # WHERE: s2 := ra; call a1; addi a0, a0, 1; jump to s2
    _put(p, WHERE, encode("addi", S2, RA, 0), encode("jalr", RA, A1, 0), _addi(1),
         encode("jalr", 0, S2, 0))
    p.i("fence.i")
    p.to("jal", 0, "over")
    p.label("function")
    p.i("addi", A5, RA, 0)
    p.li(T0, WHERE)
    p.i("sw", A2, T0, 8)
    p.i("fence.i")
    p.i("jalr", 0, A5, 0)
    p.label("over")
    p.i("auipc", A1, 0)
    here = p.pc - 4
    p.i("addi", A1, A1, p.labels["function"] - here)
    for value in (1, 2, 3, 500):
        p.li(A2, _addi(value))
        p.li(A0, 0)
        _call(p)
        p.store(A0, f"{value}")
    p.end()
    return p.finish()


def tests():
    yield "code-patch-fence.i", lambda: test_patch("fence.i")
    yield "code-patch-flush", lambda: test_patch("flush")
    yield "code-protect", test_protect
    yield "code-remap", test_remap
    yield "code-ahead", test_ahead
    yield "code-links", test_links
    yield "code-many", test_many
    yield "code-return", test_return_to_new_code
