//! Ceph on one node: a monitor, objects in memory, and the gateway that speaks S3. There is no manager: nothing here asks for what it counts.
//!
//! 1. Configuration and keys are written, and the monitor's store is made; the monitor starts.
//! 2. It is told of the one process of objects, which starts and is empty.
//! 3. The gateway's user is made, and with it the pools; the gateway starts.
//!
//! Whatever they write lies in the folder that they are given, and they listen on loopback alone.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

use super::{Kind, spawned};

/// All of them know one another by it; who is on this machine may know it too.
const KEY: &str = "AQAAAAAAAAAAABAAbGFyZGVyLWNlcGgtdGVzdA==";
const CLUSTER: &str = "6c617264-6572-4365-a068-000000000000";
const OBJECTS: &str = "6c617264-6572-4365-a068-000000000001";

pub(super) fn start(kind: &Kind, gateway: &mut Command, folder: &Path, port: u16) -> Result<()> {
    let monitor = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    fs::write(folder.join("ceph.conf"), configuration(folder, monitor, port))?;
    fs::write(folder.join("keyring"), keyring())?;
    for store in ["mon", "osd"] {
        fs::create_dir(folder.join(store))?;
    }
    let keys = folder.join("keyring").display().to_string();
    ran("ceph-mon", folder, &["--mkfs", "-i", "a", "--keyring", &keys])?;
    begin("ceph-mon", folder, &["-i", "a", "-f"])?;
    ran("ceph", folder, &["--connect-timeout", "30", "osd", "new", OBJECTS])?;
    ran("ceph-osd", folder, &["-i", "0", "--mkfs", "--osd-uuid", OBJECTS])?;
    begin("ceph-osd", folder, &["-i", "0", "-f"])?;
    let user = ["user", "create", "--uid=larder", "--display-name=larder", "--access-key", kind.key];
    ran("radosgw-admin", folder, &[&user[..], &["--secret-key", kind.secret]].concat())?;
    configured(gateway, folder).args(["-n", "client.rgw", "-f"]);
    Ok(())
}

fn configured<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env_remove("CEPH_ARGS").arg("-c").arg(folder.join("ceph.conf"))
}

/// Runs a program to its end.
fn ran(program: &str, folder: &Path, arguments: &[&str]) -> Result<()> {
    let told = configured(&mut Command::new(program), folder).args(arguments).current_dir(folder).output();
    let Output { status, stderr, .. } = told.with_context(|| format!("cannot run `{program}`"))?;
    if !status.success() {
        bail!("`{program} {}` failed ({status}): {}", arguments.join(" "), String::from_utf8_lossy(&stderr));
    }
    Ok(())
}

/// Starts one that ends with the server.
#[allow(clippy::zombie_processes, reason = "it is ended by its id, and outlives this process where the server does")]
fn begin(program: &str, folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    spawned(configured(&mut command, folder).args(arguments), folder)
        .with_context(|| format!("cannot start `{program}`"))?;
    Ok(())
}

fn keyring() -> String {
    let all = [
        ("mon.", "caps mon = \"allow *\""),
        ("client.admin", "caps mon = \"allow *\"\ncaps osd = \"allow *\""),
        ("client.rgw", "caps mon = \"allow rwx\"\ncaps osd = \"allow rwx\""),
        ("osd.0", "caps mon = \"allow profile osd\"\ncaps osd = \"allow *\""),
    ];
    all.map(|(name, may)| format!("[{name}]\nkey = {KEY}\n{may}\n")).concat()
}

/// Of one copy, in as few pieces as there can be; the monitor does not wait for more to decide upon.
fn configuration(folder: &Path, monitor: u16, port: u16) -> String {
    let place = folder.display();
    format!(
        "[global]
fsid = {CLUSTER}
mon_host = v2:127.0.0.1:{monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = {place}
crash_dir = {place}
keyring = {place}/keyring
log_file = {place}/$name.log
admin_socket =
pid_file =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
public_addr = v2:127.0.0.1:{monitor}
mon_data = {place}/mon
mon_data_avail_crit = 1
mon_cluster_log_file = {place}/cluster.log
mon_allow_pool_size_one = true
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[osd]
osd_data = {place}/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
[client]
client_mount_timeout = 30
[client.admin]
rados_osd_op_timeout = 30
[client.rgw]
rgw_data = {place}
rgw_frontends = beast endpoint=127.0.0.1:{port}
"
    )
}
