//! A directory that files or the database lie in: whether it is there, whose it is, what file system it is on, and what is left there.

use super::{Check, Said};
use crate::{Context, open, output::size, secrets, space::Space};
use larder_files::{StoreMode, StoreName};
use rustix::{
    fs::{Access, StatVfsMountFlags, access, statfs, statvfs},
    io::Errno,
};
use std::{
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A directory.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// What there is of it: where it is not made yet, the directory that it will be made in.
    around: PathBuf,
    pub(super) is_data: bool,
    /// Whether nothing is ever written there.
    pub(super) is_read_only: bool,
    /// Whether there is a larder already.
    has_begun: bool,
    /// What is to be said of the secrets that lie there.
    secrets: Said,
    /// What to do where it is not there.
    bring_back: String,
}

impl Place {
    pub(super) fn data(context: &Context) -> Self {
        let has_begun = has_begun(context);
        let path = context.dir.path().to_owned();
        let secrets = look_at_secrets(context, has_begun);
        let bring_back = "name another with --data (or LARDER_DATA)".to_owned();
        Self { around: around(&path), path, is_data: true, is_read_only: false, has_begun, secrets, bring_back }
    }

    pub(super) fn store(context: &Context, name: &StoreName) -> Self {
        let store = &context.config.stores[name];
        let path = open::root(&context.dir, store);
        Self {
            around: around(&path),
            path,
            is_data: false,
            is_read_only: store.mode == StoreMode::Ro,
            has_begun: has_begun(context),
            secrets: Said::ok("none"),
            bring_back: open::bring_back(name.as_str(), &context.dir, &context.config),
        }
    }

    /// The checks that this one has to pass; of one that is not there, and should be, only that.
    pub(super) fn checks(&self) -> impl Iterator<Item = &'static Check<Self>> + use<> {
        let (is_there, is_data) = (self.path.is_dir(), self.is_data);
        let more = if is_there || !self.has_begun { THERE } else { &[] };
        let of_data = if is_there && is_data { DATA } else { &[] };
        ALWAYS.iter().chain(more).chain(of_data)
    }
}

fn has_begun(context: &Context) -> bool {
    context.dir.database().exists() || (context.config.server().is_some() && context.dir.secrets().exists())
}

fn around(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|path| path.is_dir());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

const ALWAYS: &[Check<Place>] = &[Check { name: "there", look: is_there }];

const THERE: &[Check<Place>] = &[
    Check { name: "permissions", look: permissions },
    Check { name: "space", look: space },
    Check { name: "inodes", look: inodes },
    Check { name: "file system", look: file_system },
];

const DATA: &[Check<Place>] = &[Check { name: "secrets", look: |place| place.secrets.clone() }];

fn is_there(place: &Place) -> Said {
    let path = place.path.display();
    let advice = &place.bring_back;
    match fs::metadata(&place.path) {
        Ok(about) if about.is_dir() => Said::ok(path),
        Ok(_) => Said::problem(format_args!("{path} is no directory"), advice),
        Err(error) if error.kind() == ErrorKind::NotFound && !place.has_begun => {
            Said::ok(format_args!("{path} is not there yet; the first start makes it in {}", place.around.display()))
        }
        Err(error) => Said::problem(format_args!("{path}: {error}"), advice),
    }
}

fn permissions(place: &Place) -> Said {
    let there = place.around.display();
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if !place.is_read_only && access(&place.around, all) == Err(Errno::ACCESS) {
        let advice = format!("work as its owner, or give this user the right: `chmod u+rwx {there}`");
        return Said::problem(format_args!("this user may not write in {there}"), advice);
    }
    match fs::metadata(&place.path) {
        Ok(about) => judge_permissions(place, &about),
        Err(_) if !place.has_begun => Said::ok(format_args!("this user may write in {there}")),
        Err(error) => Said::problem(error, "look at it as its owner"),
    }
}

fn judge_permissions(place: &Place, about: &Metadata) -> Said {
    let (mode, path) = (about.mode() & 0o777, place.path.display());
    let measured = format!("{mode:04o}, of user {}", about.uid());
    let us = rustix::process::geteuid();
    if about.uid() != us.as_raw() && !us.is_root() {
        return Said::problem(measured, format_args!("work as its owner, or `chown -R {} {path}`", us.as_raw()));
    }
    match mode & 0o077 {
        0 => Said::ok(measured),
        open if open & 0o022 != 0 => {
            Said::problem(measured, format_args!("others may write there: `chmod 700 {path}`"))
        }
        // What lies in a store is private by itself; the names of buckets are not worth a warning.
        _ if !place.is_data => Said::ok(measured),
        _ => Said::warning(measured, format_args!("others may look into it: `chmod 700 {path}`")),
    }
}

const FREE_MIN: u64 = 1 << 30;
/// Less than this is as good as full.
const FULL: u64 = 16 << 20;
/// A twentieth of a disk.
const SHARE: u64 = 20;

fn space(place: &Place) -> Said {
    match Space::of(&place.around) {
        Ok(space) => judge_space(space.free, space.total),
        Err(error) => Said::problem(error, "look at the disk"),
    }
}

fn judge_space(free: u64, total: u64) -> Said {
    let measured = format!("{} of {} free", size(free), size(total));
    let advice = "make room, or move it to a larger disk: uploads are refused when it is full";
    match free {
        0..FULL => Said::problem(measured, advice),
        _ if free < FREE_MIN || free < total / SHARE => Said::warning(measured, advice),
        _ => Said::ok(measured),
    }
}

fn inodes(place: &Place) -> Said {
    match Space::of(&place.around) {
        Ok(space) => judge_inodes(space.inodes_free, space.inodes_total),
        Err(error) => Said::problem(error, "look at the disk"),
    }
}

fn judge_inodes(free: u64, total: u64) -> Said {
    let advice = "each file takes two: make the file system anew with more of them, or take one without such a limit (XFS, Btrfs)";
    match (free, total) {
        (_, 0) => Said::ok("made as they are needed"),
        (0, _) => Said::problem(format_args!("none of {total} free"), advice),
        _ if free < total / SHARE => Said::warning(format_args!("{free} of {total} free"), advice),
        _ => Said::ok(format_args!("{free} of {total} free")),
    }
}

/// What a file system is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    /// Behind other machines, or another process: locks and syncs are theirs.
    Network,
    /// A container's own.
    Layer,
    Memory,
    /// Without links, owners, or names that stay as they are.
    Poor,
}

const FILE_SYSTEMS: &[(u32, &str, Kind)] = &[
    (0xef53, "ext4", Kind::Disk),
    (0x5846_5342, "XFS", Kind::Disk),
    (0x9123_683e, "Btrfs", Kind::Disk),
    (0x2fc1_2fc1, "ZFS", Kind::Disk),
    (0xf2f5_2010, "F2FS", Kind::Disk),
    (0xca45_1a4e, "bcachefs", Kind::Disk),
    (0x0102_1994, "tmpfs", Kind::Memory),
    (0x8584_58f6, "ramfs", Kind::Memory),
    (0x794c_7630, "overlayfs", Kind::Layer),
    (0x6969, "NFS", Kind::Network),
    (0x517b, "SMB", Kind::Network),
    (0xfe53_4d42, "SMB", Kind::Network),
    (0xff53_4d42, "CIFS", Kind::Network),
    (0x6573_5546, "FUSE", Kind::Network),
    (0x0102_1997, "9P", Kind::Network),
    (0x00c3_6400, "Ceph", Kind::Network),
    (0x5346_414f, "AFS", Kind::Network),
    (0x7461_636f, "OCFS2", Kind::Network),
    (0x0bd0_0bd0, "Lustre", Kind::Network),
    (0x4d44, "FAT", Kind::Poor),
    (0x2011_bab0, "exFAT", Kind::Poor),
];

fn file_system(place: &Place) -> Said {
    let (about, flags) = match (statfs(&place.around), statvfs(&place.around)) {
        (Ok(about), Ok(more)) => (about, more.f_flag),
        (Err(error), _) | (_, Err(error)) => return Said::problem(error, "look at the disk"),
    };
    // The kernel's magic numbers have 32 bits; `f_type` is wider or signed on some machines.
    let magic = about.f_type as u32;
    let known = FILE_SYSTEMS.iter().find(|(number, ..)| *number == magic);
    let name = known.map_or_else(|| format!("of type {magic:#x}"), |(_, name, _)| (*name).to_owned());
    if flags.contains(StatVfsMountFlags::RDONLY) && !place.is_read_only {
        let advice = "a disk that had an error is mounted so: look into the kernel's log (`dmesg`); for a store to be read only, \
                      give it `mode = \"ro\"`";
        return Said::problem(format_args!("{name}, mounted read-only"), advice);
    }
    judge_file_system(&name, known.map_or(Kind::Disk, |(.., kind)| *kind), place.is_data)
}

fn judge_file_system(name: &str, kind: Kind, is_data: bool) -> Said {
    match kind {
        Kind::Disk => Said::ok(name),
        Kind::Network if is_data => Said::problem(
            format_args!("{name}: SQLite is not safe there, and a start is refused"),
            "put the data directory on a local disk; stores may stay where they are",
        ),
        Kind::Network => Said::warning(
            format_args!("{name}: locks and syncs are another's"),
            "see that the server writes through (no `async` export, no `soft` mount); better, take a local disk",
        ),
        Kind::Layer => Said::warning(
            format_args!("{name}: a container's own layer, which ends with the container"),
            "mount a volume there",
        ),
        Kind::Memory => Said::warning(format_args!("{name}: gone with the next reboot"), "take a directory on a disk"),
        Kind::Poor => {
            Said::problem(format_args!("{name}: it can't keep names and owners apart"), "take ext4, XFS, Btrfs or ZFS")
        }
    }
}

fn look_at_secrets(context: &Context, has_begun: bool) -> Said {
    let path = context.dir.secrets();
    match secrets::load(&context.dir) {
        Ok(Some(_)) => Said::ok(format_args!("{}, for its user alone", path.display())),
        Ok(None) if has_begun => Said::refused(&open::no_secrets(&context.dir)),
        Ok(None) => Said::ok("not there yet; the first start makes them"),
        Err(error) => Said::refused(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn little_room_is_a_warning_and_none_a_problem() {
        const GIB: u64 = 1 << 30;
        for (free, total, verdict) in [
            (50 * GIB, 100 * GIB, Verdict::Ok),
            (4 * GIB, 100 * GIB, Verdict::Warning),
            (GIB - 1, 2 * GIB, Verdict::Warning),
            (FULL - 1, 2 * GIB, Verdict::Problem),
        ] {
            assert_eq!(judge_space(free, total).verdict, verdict, "{free} of {total}");
        }
        for (free, total, verdict) in
            [(0, 0, Verdict::Ok), (50, 100, Verdict::Ok), (4, 100, Verdict::Warning), (0, 100, Verdict::Problem)]
        {
            assert_eq!(judge_inodes(free, total).verdict, verdict, "{free} of {total} inodes");
        }
    }

    #[test]
    fn a_database_has_no_place_on_a_network_and_a_store_is_warned_of_it() {
        assert_eq!(judge_file_system("NFS", Kind::Network, true).verdict, Verdict::Problem);
        assert_eq!(judge_file_system("NFS", Kind::Network, false).verdict, Verdict::Warning);
        assert_eq!(judge_file_system("overlayfs", Kind::Layer, true).verdict, Verdict::Warning);
        assert_eq!(judge_file_system("ext4", Kind::Disk, true).verdict, Verdict::Ok);
    }
}
