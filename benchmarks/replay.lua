-- Replays requests made beforehand, each with its own body and signature, as wrk's client.
-- The file: per request a line with its length, then the raw request.
function init(args)
    local file = assert(io.open(args[1], "rb"))
    requests, at = {}, 0
    while true do
        local length = file:read("*n")
        if not length then break end
        file:read(1)
        requests[#requests + 1] = file:read(length)
    end
    file:close()
end

function request()
    at = at % #requests + 1
    return requests[at]
end

-- wrk gives each thread a state of its own; there is one thread here, so one count.
local threads = {}
function setup(thread)
    threads[#threads + 1] = thread
end

function response(status)
    if status == 202 then
        accepted = (accepted or 0) + 1
    elseif status == 200 then
        repeated = (repeated or 0) + 1
    else
        other = (other or 0) + 1
    end
end

function done(summary, latency)
    local accepted, repeated, other = 0, 0, 0
    for _, thread in ipairs(threads) do
        accepted = accepted + (thread:get("accepted") or 0)
        repeated = repeated + (thread:get("repeated") or 0)
        other = other + (thread:get("other") or 0)
    end
    local errors = summary.errors
    io.write(string.format(
        '{"accepted": %d, "repeated": %d, "other": %d, "seconds": %.3f, "p99_ms": %.2f, "failed": %d}\n',
        accepted, repeated, other, summary.duration / 1e6, latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.timeout))
end
