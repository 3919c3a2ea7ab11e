"""Python: what its interpreter does most: calls, attributes, dicts, lists, strings, small integers."""
import sys


class Node:
    def __init__(self, key, left=None, right=None):
        self.key, self.left, self.right = key, left, right

    def insert(self, key):
        node = self
        while True:
            side = "left" if key < node.key else "right"
            child = getattr(node, side)
            if child is None:
                setattr(node, side, Node(key))
                return
            node = child

    def __iter__(self):
        if self.left:
            yield from self.left
        yield self.key
        if self.right:
            yield from self.right


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def sieve(n):
    flags = [True] * n
    for i in range(2, int(n ** 0.5) + 1):
        if flags[i]:
            for j in range(i * i, n, i):
                flags[j] = False
    return sum(flags) - 2


def words(n):
    counts, seed = {}, 1
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        word = "w%d" % (seed >> 16 & 0x3ff)
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]


def tree(n):
    seed, root = 42, Node(1 << 30)
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        root.insert(seed)
    return sum(i * key for i, key in enumerate(root)) % 1000003


scale = int(sys.argv[1])
print(fib(18 + scale // 4), sieve(10000 * scale), words(3000 * scale), tree(500 * scale))
