"""Real Debian programs: each does real work, and prints what its native build prints."""

import os
import textwrap

import pytest

PYTHON = "/usr/bin/python3"


def same(guest, native, folder, program, *args, **kwargs):
    """Run both in folders of their own; status and output must be equal. Returns the guest's."""
    folders = []
    for name in ("guest", "native"):
        folders.append(folder / name)
        folders[-1].mkdir(exist_ok=True)
    want = native.run(program, *args, folder=folders[1], **kwargs)
    got = guest.run(program, *args, folder=folders[0], **kwargs)
    assert want.status == 0, f"the native program failed: {want}"
    assert got.status == want.status, got
    assert got.text == want.text, got.error
    return got


def script(text):
    return textwrap.dedent(text)


BASH = script(r"""
    set -e
    declare -A count; for w in the quick brown fox jumps over the lazy dog the end; do
        count[$w]=$(( ${count[$w]:-0} + 1 )); done
    for k in "${!count[@]}"; do echo "$k ${count[$k]}"; done | sort
    fib() { if (( $1 < 2 )); then echo $1; else echo $(( $(fib $(($1-1))) + $(fib $(($1-2))) )); fi; }
    fib 9
    s=0; for ((i=0; i<20000; i++)); do s=$(( (s * 31 + i) % 1000003 )); done; echo $s
    [[ "2024-06-01" =~ ^([0-9]+)-([0-9]+) ]] && echo "${BASH_REMATCH[1]}/${BASH_REMATCH[2]}"
    printf '%05d|%-8s|%x|%q\n' 42 left 255 'a b'
    trap 'echo trapped' USR1; kill -USR1 $$; echo after
    cat <<< "here string" | tr a-z A-Z
    diff <(seq 5) <(seq 2 6) || echo differ
    (exit 7) || echo "status $?"
    x=abcdef; echo "${x:2:3} ${x^^} ${x/cd/--} ${#x}"
    mapfile -t lines < <(printf '%s\n' one two three); echo "${#lines[@]} ${lines[1]}"
    set -o pipefail; false | true || echo "pipefail $?"
    sleep 0.05 & wait $!; echo "waited $?"
    coproc CAT { cat; }; echo through >&"${CAT[1]}"; read -r line <&"${CAT[0]}"; echo "$line"
    exec {CAT[1]}>&-
    ( ulimit -n 64; ulimit -n )
""")


def test_bash(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/bash", "-c", BASH)


COREUTILS = script(r"""
    seq 1 3000 | sort -r | head -100 | sort -n | tail -3
    seq 1 5000 | md5sum; seq 1 5000 | sha256sum; seq 1 5000 | sha512sum; seq 1 100 | b2sum
    seq 1 20 | paste -sd+ ; seq 1 9 | tac | tr '\n' ' '; echo
    factor 1234567890123456789 600851475143 ; expr 12 '*' 13; numfmt --to=iec 123456789
    printf 'b 2\na 1\nc 3\n' | sort -k2n | cut -d' ' -f1 | nl
    mkdir -p d/e; echo text > d/e/f; cp -r d g; mv g/e/f g/h; find . -type f | sort; rm -r d g
    printf 'x\ny\n' | od -An -tx1; echo hello | base64; echo aGVsbG8K | base64 -d
    date -u -d @1700000000 +%FT%TZ; cal=1; seq 3 | xargs -n1 echo item
    truncate -s 1M big; stat -c '%s %a %F' big; dd if=/dev/zero of=big bs=4k count=3 2>/dev/null
    wc -c < big; ln -s big link; readlink link; test -L link && echo symlink
    echo 'a-b_c' | sed -E 's/([a-z])-([a-z])/\2+\1/; y/abc/xyz/'
    printf 'one\ntwo\nthree\n' | grep -nE '^t|e$'; printf 'one\ntwo\n' | grep -c o
    printf '1\n2\n3\n' | gawk '{s += $1; p = p * 10 + $1} END {printf "%d %d %.3f\n", s, p, s/7}'
    split -l 100 - part. < <(seq 250); ls part.*; comm -12 <(seq 1 5) <(seq 3 9); join <(echo 1 a) <(echo 1 b)
    yes | head -1000 | uniq -c; env -i FOO=bar env; nproc > /dev/null; timeout 5 true; echo $?
""")


def test_coreutils(guest, native, tmp_path):
    native.need_chroot()  # the programs that the shell starts must be of the same version
    same(guest, native, tmp_path, "/usr/bin/bash", "-c", COREUTILS)


PYTHON_WORK = script(r"""
    import array, base64, binascii, bisect, collections, datetime, decimal, fractions, hashlib, heapq
    import hmac, itertools, json, math, random, re, string, struct, textwrap, unicodedata, zlib, bz2, lzma
    r = random.Random(1)
    print([r.random() for _ in range(5)], r.gauss(0, 1), r.sample(range(1000), 5))
    print(math.sin(1), math.exp(10.5), math.log(3), math.pow(2, .5), math.gamma(4.5), math.hypot(3, 4))
    print(math.fsum([.1] * 10), sum([.1] * 10), 1e308 * 10, -1e308 * 10, math.isnan(float('inf') * 0))
    print([round(x / 8, 1) for x in range(-20, 20, 3)], float.hex(1 / 3), '%.17g' % (2 / 3))
    print(2 ** 521 - 1, pow(3, 12345, 2 ** 127 - 1), (10 ** 40) // 7 ** 9, -7 // 2, -7 % 3)
    print(decimal.Decimal(2).sqrt(), fractions.Fraction(355, 113) ** 3)
    text = ' '.join(r.choice(['alpha', 'beta', 'gamma', 'delta']) + str(i) for i in range(2000))
    print(collections.Counter(re.findall(r'[a-z]+(?=\d*[05]\b)', text)).most_common())
    data = text.encode()
    print(hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest(), hashlib.sha3_256(data).hexdigest())
    print(hashlib.blake2b(data).hexdigest()[:32], zlib.crc32(data), zlib.adler32(data))
    for m in (zlib, bz2, lzma):
        c = m.compress(data); assert m.decompress(c) == data; print(len(c))
    doc = {'a': [1, 2.5, None, True, 'ü'], 'b': {'c': [[]] * 3}}
    assert json.loads(json.dumps(doc)) == doc; print(json.dumps(doc, indent=1, sort_keys=True))
    print(struct.pack('<hiqfd', -1, 2, -3, 1.5, math.pi).hex())
    print(sorted(''.join(p) for p in itertools.permutations('abcd'))[::5])
    class Node:
        def __init__(self, v): self.v, self.l, self.r = v, None, None
        def add(self, v):
            side = 'l' if v < self.v else 'r'; n = getattr(self, side)
            n.add(v) if n else setattr(self, side, Node(v))
        def __iter__(self):
            if self.l: yield from self.l
            yield self.v
            if self.r: yield from self.r
    t = Node(500)
    for _ in range(2000): t.add(r.randrange(1000))
    print(sum(i * v for i, v in enumerate(t)))
    print(datetime.datetime(2024, 2, 29) + datetime.timedelta(days=365.25), unicodedata.name('ß'))
    sieve = bytearray([1]) * 50000
    for i in range(2, 224):
        if sieve[i]: sieve[i*i::i] = bytes(len(sieve[i*i::i]))
    print(sum(sieve[2:]))
    def collatz(n):
        c = 0
        while n != 1: n = n // 2 if n % 2 == 0 else 3 * n + 1; c += 1
        return c
    print(max(range(1, 3000), key=collatz))
""")


def test_python(guest, native, tmp_path):
    same(guest, native, tmp_path, PYTHON, "-c", PYTHON_WORK)


PYTHON_PROCESSES = script(r"""
    import asyncio, concurrent.futures, multiprocessing, os, queue, signal, socket, sqlite3, subprocess
    import sys, threading, time, tempfile, select, mmap
    lock, total = threading.Lock(), [0]
    def work(n):
        for i in range(n):
            with lock: total[0] += i
    ts = [threading.Thread(target=work, args=(500 + i,)) for i in range(40)]
    [t.start() for t in ts]; [t.join() for t in ts]; print(total[0])
    q = queue.Queue()
    def consumer(out):
        while (v := q.get()) is not None: out.append(v * v)
    outs = [[] for _ in range(4)]
    cs = [threading.Thread(target=consumer, args=(o,)) for o in outs]; [c.start() for c in cs]
    [q.put(i) for i in range(1000)]; [q.put(None) for _ in cs]; [c.join() for c in cs]
    print(sum(map(sum, outs)))
    with concurrent.futures.ThreadPoolExecutor(8) as p: print(sum(p.map(lambda x: x ** 3, range(100))))
    print(subprocess.run(['sh', '-c', 'echo out; echo err >&2; exit 3'], capture_output=True))
    p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(len(p.communicate(b'x' * 300000)[0]), p.returncode)
    p = subprocess.Popen(['sleep', '100']); p.terminate(); print(p.wait())
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0: os.write(w, b'from the child'); os._exit(5)
    print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    def square(x): return x * x
    with multiprocessing.get_context('fork').Pool(3) as pool: print(sum(pool.map(square, range(200))))
    got = []
    signal.signal(signal.SIGALRM, lambda *a: got.append(a[0])); signal.setitimer(signal.ITIMER_REAL, .02, .02)
    end = time.monotonic() + 10
    while len(got) < 5 and time.monotonic() < end: time.sleep(.005)
    signal.setitimer(signal.ITIMER_REAL, 0); print(len(got) >= 5)
    a, b = socket.socketpair(); a.sendall(b'ping'); print(b.recv(10))
    s = socket.create_server(('127.0.0.1', 0))
    c = socket.create_connection(s.getsockname()); d, _ = s.accept(); c.sendall(b'tcp'); print(d.recv(9))
    async def nap(i): await asyncio.sleep(.001 * (i % 5)); return i
    async def main():
        print(sum(await asyncio.gather(*(nap(i) for i in range(50)))))
        p = await asyncio.create_subprocess_exec('echo', 'async', stdout=asyncio.subprocess.PIPE)
        print((await p.communicate())[0])
    asyncio.run(main())
    db = sqlite3.connect(':memory:'); db.execute('create table t(a, b)')
    db.executemany('insert into t values(?, ?)', ((i, i * i % 97) for i in range(2000)))
    print(db.execute('select b, count(*), sum(a) from t group by b order by 2 desc, 1 limit 3').fetchall())
    m = mmap.mmap(-1, 8192); m[4090:4100] = b'0123456789'; print(m.find(b'456'))
    print(os.path.basename(os.readlink('/proc/self/exe')).startswith('python3') or
          'ld-linux' in os.readlink('/proc/self/exe'), os.uname().sysname)
    e = threading.Event(); threading.Timer(.01, e.set).start(); print(e.wait(10))
""")


def test_python_processes(guest, native, tmp_path):
    same(guest, native, tmp_path, PYTHON, "-c", PYTHON_PROCESSES)


PERL = script(r"""
    use strict; use warnings; use List::Util qw(sum max shuffle); use POSIX qw(floor strftime); use Digest::MD5;
    use Storable qw(dclone); use Time::Local; use Data::Dumper; $Data::Dumper::Sortkeys = 1;
    my $x = 12345; my @r = map { $x = ($x * 1103515245 + 12345) % 2147483648; $x } 1 .. 5000;
    print join(',', (sort { $a <=> $b } @r)[0 .. 4]), "\n", sum(@r), ' ', max(@r), "\n";
    my %h; $h{$_ % 97}++ for @r; print join(' ', map { "$_=$h{$_}" } (sort { $h{$b} <=> $h{$a} || $a <=> $b } keys %h)[0 .. 5]), "\n";
    my $t = 'The year 1999 and 2024, not 12 or 123456'; print join('|', $t =~ /\b(\d{4})\b/g), "\n";
    (my $u = $t) =~ s/(\w+)/ucfirst lc $1/ge; print "$u\n"; print scalar reverse('stressed'), "\n";
    printf "%.10f %e %s %x %o %b %5.2f|%-6s|\n", atan2(1,1)*4, 1e-300/7, 0.1+0.2, 255, 8, 10, 3.14159, 'ab';
    print Digest::MD5::md5_hex('perl'), ' ', unpack('H*', pack('NnCa3d<', 1, 2, 3, 'xyz', 1.5)), "\n";
    print strftime('%F %T', gmtime(1e9)), ' ', timegm(0,0,0,1,0,100), "\n"; print Dumper({ a => [1, { b => undef }] });
    my $pid = fork // die; if (!$pid) { exit 3 } waitpid $pid, 0; print $? >> 8, "\n";
    print `echo from a child`; open my $p, '-|', 'seq 3' or die; print <$p>; close $p;
    local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 10; }; print $@;
    my @q = (1) x 8; my $n = 0; my (@c, @d1, @d2); sub place { my $r = shift; if ($r == 8) { $n++; return }
    for my $i (0 .. 7) { next if $c[$i] || $d1[$r + $i] || $d2[$r - $i + 8]; $c[$i] = $d1[$r + $i] = $d2[$r - $i + 8] = 1;
    place($r + 1); $c[$i] = $d1[$r + $i] = $d2[$r - $i + 8] = 0 } } place(0); print "$n queens\n";
""")


def test_perl(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/perl", "-e", PERL)


LUA = script(r"""
    local t = {} ; for i = 1, 20000 do t[i] = (i * 7919) % 10007 end
    table.sort(t); print(t[1], t[10000], #t)
    print(string.format('%5.2f %d %s %q %x %g', math.pi, 42, 'x', 'a\n', 255, 1e100))
    print(("hello world"):gsub('o', '0'), ("key=val"):match('(%w+)=(%w+)'))
    print(1 // 0.0, -7 // 2, -7 % 3, 7 // 2.0, 2^53, 1e15, 3 | 4, ~0, 5 >> 1, math.maxinteger + 1 == math.mininteger)
    local co = coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i * i) end end)
    print(co(), co(), co())
    local mt = setmetatable({}, { __index = function(_, k) return k .. '!' end, __call = function(_, a) return a * 2 end })
    print(mt.foo, mt(21)); print(select(2, pcall(error, { code = 5 })).code)
    local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end print(fib(22))
    local s = 0.0; for i = 1, 100000 do s = s + math.sin(i) * math.sqrt(i) end; print(string.format('%.9f', s))
    print(string.pack('<i4d', 7, 1.5):byte(1, -1)); print(utf8.char(228, 8364), #utf8.char(8364))
    print(tostring(0/0):gsub('-', ''), 1/0, -1/0, math.tointeger(3.0), 10 / 2)
""")


def test_lua(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/lua5.4", "-e", LUA)


GAWK = script(r"""
    BEGIN { srand(1); for (i = 0; i < 20000; i++) { v = (v * 69069 + 1) % 4294967296; a[v % 101]++ }
      n = asorti(a, k, "@ind_num_asc"); for (i = 1; i <= 5; i++) print k[i], a[k[i]]
      print sin(1), cos(1), exp(1), log(10), sqrt(2), atan2(0, -1), int(-3.7), 2 ^ 0.5, 1e300 * 1e300
      s = "foo123bar45"; while (match(s, /[0-9]+/)) { print substr(s, RSTART, RLENGTH); s = substr(s, RSTART + RLENGTH) }
      print gensub(/(a+)(b*)/, "<\\2\\1>", "g", "aabbab"), toupper("x"), strftime("%F", 0, 1), and(12, 10), xor(5, 1)
      printf "%d %i %5.3f %e %g %c %s %x|%-5d|%+d\n", 3.9, "12abc", 3.14159, 12345.678, 0.0001, 65, "s", 255, 7, 7
      "echo from a pipe" | getline line; print line; print length("äöü"), index("hello", "l"), substr("hello", 2, 3)
      split("a:b:c", p, ":"); print p[3] p[1]; print | "sort -r"; close("sort -r"); print -7 % 3, 017, 1e3, "10" + 5
      for (i = 0; i < 30000; i++) x = x * 1.0000001 + i / 3; printf "%.6f\n", x }
""")


def test_gawk(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/gawk", GAWK)


SQL = script(r"""
    create table t(id integer primary key, name text, v real, k int);
    with recursive c(i) as (select 1 union all select i + 1 from c where i < 5000)
      insert into t select i, 'name' || (i * 7919 % 1000), i / 7.0, i % 13 from c;
    create index n on t(name); analyze;
    select k, count(*), round(sum(v), 3), min(name), max(v) from t group by k order by k;
    select a.id, b.id from t a join t b on a.name = b.name and a.id < b.id order by 1, 2 limit 5;
    select name, row_number() over (partition by k order by v desc), avg(v) over (order by id rows 3 preceding)
      from t where id < 20;
    begin; update t set v = v * 2 where k = 3; delete from t where k = 5; select total(v), count(*) from t; rollback;
    select total(v), hex(zeroblob(4)), printf('%.10f', 1 / 3.0), typeof(1.0), 9223372036854775807 + 1 from t;
    select json_group_array(json_object('i', id, 'n', name)) from t where id % 1000 = 0;
    select substr(name, 2, 3), upper(name), replace(name, 'a', '@'), instr(name, 'm') from t limit 3;
    select strftime('%Y-%m-%d', 1700000000, 'unixepoch'), julianday('2000-01-01'), abs(-5), 7 / 2, 7 % 3, 1e400;
    pragma integrity_check;
""")


def test_sqlite(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/sqlite3", "data.db", stdin=SQL)


COMPRESSORS = ["/usr/bin/gzip", "/usr/bin/bzip2", "/usr/bin/xz", "/usr/bin/zstd"]


def sample_data(size=1500000):
    """Bytes that compress about as text does."""
    import random
    rng = random.Random("sample")
    words = [bytes(rng.choices(b"etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(3000)]
    out = bytearray()
    while len(out) < size:
        out += rng.choice(words) + (b" " if rng.random() < 0.9 else b"\n")
    return bytes(out[:size])


@pytest.mark.parametrize("program", COMPRESSORS)
def test_compressors(guest, native, tmp_path, program):
    data = sample_data()
    results = {}
    for runner in (guest, native):
        packed = runner.run(program, "-c", folder=tmp_path, stdin=data)
        assert packed.status == 0, packed.error
        results[runner.name] = packed.out
    assert results["nandu"] == results["native"]
    unpacked = guest.run(program, "-dc", folder=tmp_path, stdin=results["nandu"])
    assert unpacked.status == 0 and unpacked.out == data


def test_threads_of_compressors(guest, native, tmp_path):
    data = sample_data(4000000)
    for program, options in (("/usr/bin/xz", ["-T4", "--block-size=1MiB", "-1"]), ("/usr/bin/zstd",
                                                                                  ["-T4", "-3"])):
        outs = [r.run(program, "-c", *options, folder=tmp_path, stdin=data) for r in (guest, native)]
        assert outs[0].status == 0 and outs[0].out == outs[1].out, outs[0].error


def test_tar(guest, native, tmp_path):
    source = tmp_path / "source"
    for n in range(30):
        (source / f"d{n % 5}").mkdir(parents=True, exist_ok=True)
        (source / f"d{n % 5}" / f"file{n}").write_bytes(b"%d\n" % n * (n * 50))
    os.symlink("d0/file0", source / "link")
    options = ["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner"]
    outs = [r.run("/usr/bin/tar", "-c", *options, "source", folder=tmp_path) for r in (guest, native)]
    assert outs[0].status == 0 and outs[0].out == outs[1].out, outs[0].error
    (tmp_path / "out").mkdir()
    done = guest.run("/usr/bin/tar", "-xvf", "-", "-C", "out", folder=tmp_path, stdin=outs[1].out)
    assert done.status == 0 and len(done.text.splitlines()) == 37, done
    packed = guest.run("/usr/bin/tar", "-czf", "-", *options, "source", folder=tmp_path)
    assert packed.status == 0, packed.error
    listed = native.run("/usr/bin/tar", "-tzf", "-", folder=tmp_path, stdin=packed.out)
    assert len(listed.text.splitlines()) == 37
    again = guest.run("/usr/bin/tar", "-c", *options, "source", folder=tmp_path / "out")
    assert again.out == outs[1].out


def test_openssl(guest, native, tmp_path):
    data = tmp_path / "data"
    data.write_bytes(sample_data(300000))
    key = tmp_path / "key.pem"
    made = native.run("/usr/bin/openssl", "genrsa", "-out", key, "2048", folder=tmp_path)
    assert made.status == 0, made.error
    ed = tmp_path / "ed.pem"
    native.run("/usr/bin/openssl", "genpkey", "-algorithm", "ed25519", "-out", ed, folder=tmp_path)
    for digest in ("md5", "sha1", "sha256", "sha512", "sha3-256", "blake2s256", "sm3"):
        same(guest, native, tmp_path, "/usr/bin/openssl", "dgst", f"-{digest}", data)
    for cipher in ("aes-128-cbc", "aes-256-ctr", "aes-192-ecb", "chacha20", "camellia-256-cbc",
                   "sm4-cbc"):
        same(guest, native, tmp_path, "/usr/bin/openssl", "enc", f"-{cipher}", "-pbkdf2", "-nosalt",
             "-pass", "pass:x", "-a", "-in", data)
    same(guest, native, tmp_path, "/usr/bin/openssl", "dgst", "-sha256", "-sign", key, "-hex", data)
    same(guest, native, tmp_path, "/usr/bin/openssl", "pkeyutl", "-sign", "-rawin", "-inkey", ed,
         "-in", data, "-hexdump")
    for curve in ("P-256", "P-384", "X25519"):
        made = guest.run("/usr/bin/openssl", "genpkey", "-algorithm",
                         *(["X25519"] if curve == "X25519" else
                           ["EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"]), "-out", f"{curve}.pem",
                         folder=tmp_path)
        assert made.status == 0, made.error
        checked = native.run("/usr/bin/openssl", "pkey", "-in", f"{curve}.pem", "-check", "-noout",
                             folder=tmp_path)
        assert checked.status == 0 or curve == "X25519", checked


GIT = script(r"""
    set -e
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
    export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_CONFIG_NOSYSTEM=1
    git init -q -b main repo; cd repo; for i in $(seq 40); do echo "line $i" >> file; echo $i > f$i; done
    git add .; git commit -qm first; echo change >> file; git commit -qam second
    git checkout -qb side HEAD~1; echo side > other; git add other; git commit -qm side; git checkout -q main
    git merge -q --no-edit side; git log --oneline --graph; git rev-parse HEAD; git diff HEAD~1 --stat
    git gc -q; git fsck 2>/dev/null; git tag v1; git describe --tags; git blame -s file | tail -2; git grep -c line
    git clone -q . ../clone; cd ../clone; git rev-parse HEAD; git archive HEAD | sha256sum; git stash list
    git count-objects -v | grep in-pack; git cat-file -p HEAD^{tree} | head -3
""")


def test_git(guest, native, tmp_path):
    native.need_chroot()
    same(guest, native, tmp_path, "/usr/bin/bash", "-c", GIT)


BUSYBOX = script(r"""
    i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i
    seq 1 200 | sort -rn | head -3; echo abc | md5sum; echo abc | sha256sum; echo 'a b c' | awk '{print $2, NF}'
    printf 'x=1\ny=2\n' | sed -n 's/x=//p'; echo hello | gzip | gunzip; expr 6 \* 7; date -u -d @0 +%F
    for f in a b c; do echo $f > $f; done; tar cf t.tar a b c; tar tf t.tar; find . -name '?' | sort; echo aGk= | base64 -d
""")


def test_busybox(guest, native, tmp_path):
    same(guest, native, tmp_path, "/usr/bin/busybox", "sh", "-c", BUSYBOX)


NODE = script(r"""
    const crypto = require('crypto'), zlib = require('zlib'), { Worker } = require('worker_threads');
    let x = 1; const a = Array.from({ length: 200000 }, () => x = (x * 16807) % 2147483647);
    a.sort((p, q) => p - q); console.log(a[0], a[100000], a.reduce((s, v) => (s + v) % 1000003, 0));
    function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); } console.log(fib(27));
    console.log(crypto.createHash('sha256').update('node').digest('hex'), 2n ** 200n % 1000007n);
    console.log(JSON.stringify({ a: [1, , 'x'], d: new Date(0), n: -0, r: /x/g.source }), 0.1 + 0.2, 1 / 3, 5e-324);
    console.log('The Quick Fox'.replace(/(?<w>\w+) (\w+)/u, '$2 $<w>'), [..."añ😀"].length, 'ß'.toUpperCase());
    let m = 0; for (let i = 0; i < 3e6; i++) { m = (m * 31 + (i ^ (m >>> 3))) | 0; } console.log(m);
    let f = 0; for (let i = 1; i < 1e6; i++) f += Math.sqrt(i) / Math.sin(i); console.log(f.toFixed(3));
    class P { #v = 1; get v() { return this.#v++; } } const p = new P(); console.log(p.v, p.v);
    const t = new Float64Array(1000).map((_, i) => i / 7); console.log(t.reduce((s, v) => s + v));
    console.log(zlib.inflateSync(zlib.deflateSync(Buffer.alloc(100000, 'ab'))).length);
    const map = new Map(); for (let i = 0; i < 50000; i++) map.set('k' + i % 977, i); console.log(map.size);
    console.log(new Intl.NumberFormat('en-US').format(1234567.891), [3, 1, 2].toSorted().join());
    const w = new Worker('require("worker_threads").parentPort.postMessage([1,2,3].map(v=>v*v))', { eval: true });
    w.on('message', v => console.log('worker', v));
    w.on('exit', async () => { for await (const v of (async function* () { yield 1; yield 2; })()) console.log(v);
      const wasm = new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11]);
      const { instance } = await WebAssembly.instantiate(wasm); console.log(instance.exports.add(2, 40));
      require('child_process').exec('echo child', (e, out) => process.stdout.write(out)); });
""")


def test_nodejs(guest, native, tmp_path):
    native.need_chroot()
    same(guest, native, tmp_path, "/usr/bin/node", "-e", NODE, timeout=240)


def test_go(guest, native, tmp_path):
    """gh is written in Go: goroutines, garbage collection, preemption by signals."""
    same(guest, native, tmp_path, "/usr/bin/gh", "--version")
    same(guest, native, tmp_path, "/usr/bin/gh", "help", "reference")
    same(guest, native, tmp_path, "/usr/bin/gh", "completion", "-s", "bash")


C_PROGRAM = script(r"""
    #include <math.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    struct item { char name[16]; double weight; };
    static int compare(const void *a, const void *b)
    { return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name); }
    int main(int argc, char **argv)
    {
        struct item items[500];
        for (int i = 0; i < 500; i++) {
            snprintf(items[i].name, sizeof items[i].name, "item%d", i * 7919 % 1009);
            items[i].weight = sqrt(i) * 1.5f;
        }
        qsort(items, 500, sizeof items[0], compare);
        double sum = 0;
        for (int i = 0; i < 500; i += 50) { printf("%s %.6f\n", items[i].name, items[i].weight); sum += items[i].weight; }
        printf("%.12f %d %s\n", sum, argc, argv[1]);
        return 3;
    }
""")


def test_gcc(guest, tmp_path):
    """The guest's compiler, assembler and linker make a program that then runs."""
    (tmp_path / "t.c").write_text(C_PROGRAM)
    for options, name in (["-O2"], "dynamic"), (["-O0", "-g", "-static"], "static"):
        built = guest.run("/usr/bin/gcc", *options, "-Wall", "-o", name, "t.c", "-lm",
                          folder=tmp_path, timeout=240)
        assert built.status == 0, built
        ran = guest.run(str(tmp_path / name), "argument", folder=tmp_path)
        assert ran.status == 3, ran
        lines = ran.text.splitlines()
        assert lines[0] == "item0 0.000000" and lines[-1].endswith("2 argument"), ran.text
        assert len(lines) == 11


def test_cc1(guest, native, tmp_path):
    """The same compiler as a program of the host, which makes code for riscv64 too."""
    cross = native.root + "/usr/libexec/gcc-cross/riscv64-linux-gnu/14/cc1"
    if not os.path.exists(cross):
        pytest.skip("the amd64 tree has no compiler for riscv64")
    source = C_PROGRAM.split("int main")[0].replace("#include", "//")
    source = "typedef unsigned long size_t; int strcmp(const char *, const char *);\n" + source + \
        "\n".join(f"int f{n}(int *p, int n) {{ int s = {n}; for (int i = 0; i < n; i++) "
                  f"s = s * {2 * n + 1} + (p[i] ^ s >> {n % 7}); return s > {n} ? s / {n + 2} : "
                  f"compare(p, p + s % 3); }}" for n in range(30))
    (tmp_path / "t.i").write_text(source)
    for level in ("-O0", "-O2"):
        args = ["-quiet", "-fpreprocessed", level, "-march=rv64gc", "-mabi=lp64d", "t.i", "-o", "-"]
        want = native.run(cross.replace(native.root, ""), *args, folder=tmp_path)
        got = guest.run("/usr/libexec/gcc/riscv64-linux-gnu/14/cc1", *args, folder=tmp_path)
        assert want.status == 0, want
        assert got.status == 0, got
        assert got.text == want.text


STRESS = {
    "interp": ["-dbt", "interp=on"],
    "flush": ["-dbt", "flush=50"],
    "poll": ["-dbt", "poll=always"],
    "small-cache": ["-dbt", "cache-size=1M"],
    "lockstep": ["-dbt", "lockstep=on"],
    "far": ["-dbt", "far=on"],
    "no-chain": ["-dbt", "no-chain=on"],
}

SHORT_PYTHON = script(r"""
    import hashlib, json, re, subprocess, threading
    r = []; ts = [threading.Thread(target=lambda i=i: r.append(sum(range(i * 50)))) for i in range(12)]
    [t.start() for t in ts]; [t.join() for t in ts]; print(sum(r))
    print(hashlib.sha256(json.dumps(list(range(300))).encode()).hexdigest(), 1 / 3, 2 ** 100)
    print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
""")


@pytest.mark.parametrize("stress", sorted(STRESS))
@pytest.mark.parametrize("program", ["python", "bash", "lua", "sqlite"])
def test_stress(guest, native, tmp_path, stress, program):
    args, stdin = {
        "python": ([PYTHON, "-c", SHORT_PYTHON], None),
        "bash": (["/usr/bin/bash", "-c", BASH.replace("20000", "500").replace("fib 9", "fib 5")], None),
        "lua": (["/usr/bin/lua5.4", "-e", LUA.replace("100000", "1000").replace("fib(22)", "fib(12)")],
                None),
        "sqlite": (["/usr/bin/sqlite3"], SQL.replace("i < 5000", "i < 500")),
    }[program]
    if stress == "lockstep" and program == "python":        # it is for programs with one thread
        args[-1] = args[-1].replace("[t.start() for t in ts]; [t.join() for t in ts]",
                                    "[t.run() for t in ts]")
    guest.options = ["-dbt", "flush=400"] if (stress, program) == ("flush", "python") else \
        STRESS[stress]
    try:
        same(guest, native, tmp_path, *args, stdin=stdin, timeout=300)
    finally:
        guest.options = []
