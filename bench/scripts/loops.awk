# awk: field splitting, associative arrays, patterns, printf, over a text file.
{
    for (i = 1; i <= NF; i++) {
        count[$i]++
        letters += length($i)
    }
}
/the [a-m]+ing / { matched++ }
$1 ~ /^[aeiou]/ { vowels++; sum = (sum * 31 + length($0)) % 1000003 }
{ line = $0; changed += gsub(/[aeiou]+/, "_", line) }
END {
    for (w in count) { kinds++; if (count[w] > best) best = count[w] }
    printf "%d %d %d %d %d %d %d\n", kinds, best, letters, matched, vowels, sum, changed
}
