-- Prints wrk's figures as one JSON line, with exact microseconds.
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'covet-bench {"requests":%d,"duration_us":%d,"p50_us":%.1f,"p99_us":%.1f,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"timeouts":%d,"status_errors":%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
