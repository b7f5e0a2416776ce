//! What the service says of machine and process, against `/proc` and the kernel, within the tolerances that
//! docs/reference/metrics.md states.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use covet::clock::Clock;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::scrape::{scrape, scrape_until};
use covet_system_tests::{SOON, drill};
use covet_testkit::{Service, wait_until};

/// A number of `/proc/PID/status`, as it is there.
fn status(pid: u32, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).context("no such line")?;
    Ok(line.split_whitespace().next().context("no value")?.parse()?)
}

#[track_caller]
fn assert_within(what: &str, told: f64, there: f64, tolerance: f64) {
    assert!((told - there).abs() <= tolerance, "{what}: told {told}, there {there}, tolerance {tolerance}");
}

#[tokio::test]
async fn the_process_is_as_proc_says() -> Result<()> {
    let service = Service::start().await?;
    let pid = service.process()?.pid();
    let (time, uptime) = (Clock::system().unix_millis() as f64 / 1000.0, fs::read_to_string("/proc/uptime")?);
    let now = scrape(&service).await?;
    let told = |name: &str, labels: &[(&str, &str)]| now.sum(name, labels);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64;
    assert_within("descriptors", told("process_open_file_descriptors", &[]), descriptors, 3.0);
    assert_within("threads", told("process_threads_total", &[]), status(pid, "Threads")?, 2.0);
    let (rss, vms) = (status(pid, "VmRSS")? * 1024.0, status(pid, "VmSize")? * 1024.0);
    assert_within("rss", told("process_memory_usage_bytes", &[("type", "rss")]), rss, 0.2 * rss);
    assert_within("vms", told("process_memory_usage_bytes", &[("type", "vms")]), vms, 0.1 * vms);
    // Field 22 of stat(5): ticks after the boot, of which there are a hundred a second.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks: f64 = stat.rsplit_once(')').context("stat")?.1.split_whitespace().nth(19).context("stat")?.parse()?;
    let uptime: f64 = uptime.split_whitespace().next().context("uptime")?.parse()?;
    let start = time - (uptime - ticks / 100.0);
    assert_within("start", told("process_start_time_seconds", &[]), start, 2.0);
    Ok(())
}

#[tokio::test]
async fn the_machine_is_as_the_kernel_says() -> Result<()> {
    let service = Service::start().await?;
    let now = scrape(&service).await?;
    let told = |name: &str, labels: &[(&str, &str)]| now.sum(name, labels);

    let loads = fs::read_to_string("/proc/loadavg")?;
    for (period, load) in ["1m", "5m", "15m"].into_iter().zip(loads.split_whitespace()) {
        assert_within(period, told("system_load_average", &[("period", period)]), load.parse()?, 0.5);
    }
    let output = Command::new("df").args(["-B1", "--output=target,size,used", "/"]).output()?;
    let output = String::from_utf8(output.stdout)?;
    let mut line = output.lines().nth(1).context("df")?.split_whitespace();
    let (mountpoint, total, used): (_, f64, f64) =
        (line.next().context("df")?, line.next().context("df")?.parse()?, line.next().context("df")?.parse()?);
    let disk = |kind| told("system_disk_usage_bytes", &[("mountpoint", mountpoint), ("type", kind)]);
    assert_within("disk total", disk("total"), total, 0.0);
    assert_within("disk used", disk("used"), used, 0.01 * total);

    let memory = |kind| told("system_memory_usage_bytes", &[("type", kind)]);
    assert_within("memory", memory("used") + memory("available"), memory("total"), 0.0);
    let info = fs::read_to_string("/proc/meminfo")?;
    let meminfo = |name: &str| -> Result<f64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).context("meminfo")?;
        Ok(line.trim_start_matches(':').split_whitespace().next().context("meminfo")?.parse::<f64>()? * 1024.0)
    };
    // A container with a limit has less.
    assert!(memory("total") <= meminfo("MemTotal")?, "{}", memory("total"));
    if memory("total") == meminfo("MemTotal")? {
        assert_within("available", memory("available"), meminfo("MemAvailable")?, 0.1 * meminfo("MemTotal")?);
    }
    Ok(())
}

/// Processor time in use and all of it, in ticks, as the first line of `/proc/stat` has them.
fn machine_ticks() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let numbers = stat.lines().next().context("stat")?.split_whitespace().skip(1);
    let numbers: Vec<f64> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    let idle = numbers[3] + numbers[4];
    // Guest time is in user time already.
    let all: f64 = numbers[..8].iter().sum();
    Ok((all - idle, all))
}

#[tokio::test]
async fn processor_shares_are_those_between_two_scrapes() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let process = service.process()?;
    scrape(&service).await?;
    let (busy, all) = machine_ticks()?;
    let (cpu, began) = (process.cpu_time()?, tokio::time::Instant::now());
    // Until the process has worked for half a second.
    wait_until("half a second of work", SOON, async || {
        let answered = service.client().get(service.url("/db/slow")).send().await.map_err(|error| error.to_string())?;
        let worked = process.cpu_time().map_err(|error| error.to_string())? - cpu;
        if worked > Duration::from_millis(500) { Ok(()) } else { Err(format!("{} {worked:?}", answered.status())) }
    })
    .await?;
    let now = scrape(&service).await?;
    let worked = (process.cpu_time()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    assert_within("process", now.sum("process_cpu_usage_percent", &[]), worked, 10.0);
    let (busy_then, all_then) = machine_ticks()?;
    let share = (busy_then - busy) / (all_then - all) * 100.0;
    assert_within("machine", now.sum("system_cpu_usage_percent", &[]), share, 10.0);
    Ok(())
}

#[tokio::test]
async fn network_counters_follow_the_traffic() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let lo = [("interface", "lo")];
    let before = scrape(&service).await?;
    let upload = vec![b'x'; 10 << 20];
    let response = service.client().post(service.url("/echo")).body(upload).send().await?;
    assert_eq!(response.bytes().await?.len(), 10 << 20);
    let (sent, received) = ("system_network_bytes_sent", "system_network_bytes_received");
    scrape_until(&service, "20 MiB more each way", |now| {
        [sent, received].iter().all(|name| now.sum(name, &lo) - before.sum(name, &lo) >= f64::from(20 << 20))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn disk_counters_follow_what_is_written() -> Result<()> {
    const BYTES: usize = 16 << 20;
    let service = Service::start().await?;
    let before = scrape(&service).await?;
    // The target directory is on a disk; the directory for temporary files need not be.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("written-{}", std::process::id()));
    // What is not all the same cannot be left out by the file system.
    let content: Vec<u8> = (0..BYTES).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&file, content)?;
    fs::File::open(&file)?.sync_all()?;
    fs::remove_file(&file)?;
    let (bytes, writes) = ("system_disk_written_bytes_total", "system_disk_writes_total");
    let grown = |now: &Exposition, name: &str| now.sum(name, &[]) - before.sum(name, &[]);
    let now = scrape_until(&service, "16 MiB more on a disk", |now| grown(now, bytes) >= BYTES as f64).await?;
    assert!(grown(&now, writes) >= 1.0 && grown(&now, "system_disk_busy_seconds_total") > 0.0);
    Ok(())
}

#[tokio::test]
async fn the_allocator_and_the_runtimes_tell_their_numbers() -> Result<()> {
    let service = Service::start().await?;
    let now = scrape(&service).await?;
    let allocator = ["allocated", "active", "resident", "mapped"];
    let bytes = allocator.map(|what| now.sum(&format!("allocator_{what}_bytes"), &[]));
    assert!(bytes[0] > 1e5 && bytes.is_sorted(), "{bytes:?}");
    let rss = now.sum("process_memory_usage_bytes", &[("type", "rss")]);
    assert!(bytes[0] < rss, "{bytes:?}, rss {rss}");
    let runtimes: Vec<&str> =
        now.matching("tokio_workers", &[]).map(|sample| sample.labels["runtime"].as_str()).collect();
    assert!(runtimes.contains(&"main") && runtimes.contains(&"http-0"), "{runtimes:?}");
    assert!(now.sum("tokio_alive_tasks", &[("runtime", "main")]) >= 1.0);
    Ok(())
}
