-- Lua: tables, closures, integer and float arithmetic, strings.
local n = tonumber(arg[1])

local function queens(size)
  local count, cols, up, down = 0, {}, {}, {}
  local function place(row)
    if row > size then count = count + 1; return end
    for c = 1, size do
      if not cols[c] and not up[row + c] and not down[row - c + size] then
        cols[c], up[row + c], down[row - c + size] = true, true, true
        place(row + 1)
        cols[c], up[row + c], down[row - c + size] = nil, nil, nil
      end
    end
  end
  place(1)
  return count
end

local function matrix(size)
  local a, b, sum = {}, {}, 0
  for i = 1, size do
    a[i], b[i] = {}, {}
    for j = 1, size do a[i][j], b[i][j] = i + j, i - j end
  end
  for i = 1, size do
    for j = 1, size do
      local s = 0
      for k = 1, size do s = s + a[i][k] * b[k][j] end
      sum = (sum + s) % 1000003
    end
  end
  return sum
end

local parts, seed = {}, 7
for i = 1, n * 2000 do
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  parts[#parts + 1] = string.format("%x", seed)
end
table.sort(parts)
local joined = table.concat(parts, " ")
local hits = select(2, joined:gsub("%d%d%a", "*"))
print(queens(7), matrix(12 * n), #joined, hits)
