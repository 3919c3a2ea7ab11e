# Perl: regular expressions, hashes, string building, sorting.
use strict;
my ($n) = @ARGV;
my ($seed, %count, @lines) = (1);
for my $i (1 .. $n) {
    $seed = ($seed * 1103515245 + 12345) & 0x7fffffff;
    push @lines, sprintf("%08x host%d GET /path/%d?id=%d", $seed, $seed >> 20 & 63, $seed >> 8 & 255, $i);
}
my ($sum, $text) = (0, "");
for (@lines) {
    next unless m{^([0-9a-f]+) (host\d+) (GET|POST) (/\S*?)\?id=(\d+)$};
    $count{"$2 $4"}++;
    $sum = ($sum + hex($1) * $5) % 1000003;
    (my $path = $4) =~ tr/a-z/n-za-m/;
    $text .= join(",", reverse split m{/}, $path);
    $text =~ s/(\d+)[^,]*,/$1;/ if length($text) < 200;
    $text = substr($text, -300);
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$sum ", scalar(@top), " $top[0] $count{$top[0]} ", length($text), "\n";
