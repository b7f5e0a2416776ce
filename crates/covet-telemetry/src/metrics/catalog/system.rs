//! The 12 of machine and process, fed by [`crate::system`].

use crate::declare_metrics;

/// The default buckets of the Python client, which this metric was first defined with.
const SWEEP_SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

declare_metrics! {
    /// System.
    ///
    /// Read at the scrape, from `/proc` and from the kernel; nothing is sampled and nothing waits. On other systems than
    /// Linux most have no values.
    pub SYSTEM;

    /// Share of all processors' time in use since the last scrape, 0 to 100.
    ///
    /// From `/proc/stat`; waiting for disks counts as idle. Two scrapes within a quarter of a second see the same share.
    gauge(own) SYSTEM_CPU_USAGE_PERCENT = "system_cpu_usage_percent" {};
    /// Memory of the machine, or of the container where it has a limit, in bytes.
    ///
    /// `type`: `total`, `available` (can be had without swapping), `used` (the rest).
    gauge(own) SYSTEM_MEMORY_USAGE_BYTES = "system_memory_usage_bytes" {type};
    /// Space on local file systems, in bytes.
    ///
    /// `type`: `total`, `used`. One `mountpoint` a disk, the one nearest to the root. Network file systems are not asked:
    /// they can hang.
    gauge(own) SYSTEM_DISK_USAGE_BYTES = "system_disk_usage_bytes" {mountpoint, type};
    /// Bytes sent by a network interface.
    ///
    /// From `/proc/net/dev`, since the interface came up; `lo` too.
    counter(own) SYSTEM_NETWORK_BYTES_SENT = "system_network_bytes_sent" {interface};
    /// Bytes received by a network interface.
    ///
    /// From `/proc/net/dev`, since the interface came up; `lo` too.
    counter(own) SYSTEM_NETWORK_BYTES_RECEIVED = "system_network_bytes_received" {interface};
    /// Processor time this process used since the last scrape; 100 is one processor.
    gauge PROCESS_CPU_USAGE_PERCENT = "process_cpu_usage_percent" {};
    /// Memory of this process, in bytes.
    ///
    /// `type`: `rss` (occupied), `vms` (addresses claimed).
    gauge PROCESS_MEMORY_USAGE_BYTES = "process_memory_usage_bytes" {type};
    /// File descriptors this process has open.
    gauge PROCESS_OPEN_FILE_DESCRIPTORS = "process_open_file_descriptors" {};
    /// Threads of this process.
    ///
    /// A gauge, despite its name.
    gauge PROCESS_THREADS_TOTAL = "process_threads_total" {};
    /// When this process started, in seconds since 1970-01-01 UTC.
    ///
    /// Of several processes, the oldest.
    gauge(smallest) PROCESS_START_TIME_SECONDS = "process_start_time_seconds" {};
    /// Load average of the machine.
    ///
    /// `period`: `1m`, `5m`, `15m`.
    gauge(own) SYSTEM_LOAD_AVERAGE = "system_load_average" {period};
    /// Time of a sweep that frees what is no longer needed, in seconds. Rust has no garbage collector; generation
    /// names what is swept, for example connections.
    ///
    /// Rust frees memory at once and stops for nobody, so there are no collections to time. What a service still has to
    /// look through now and then is counted here: `connections` (four times a second on each acceptor, for idle and
    /// overdue ones), and what the service sweeps itself, such as `sessions` of `covet-api`. What the allocator keeps is
    /// told by `allocator_*`.
    histogram GARBAGE_COLLECTION_DURATION_SECONDS = "garbage_collection_duration_seconds" {generation} SWEEP_SECONDS;
}
