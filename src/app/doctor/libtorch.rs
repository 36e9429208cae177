//! libtorch: which one runs, whether it is the one that this program is built for, and whether it has CUDA beside it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::cuda::Presence;
use crate::engine::torch;

use super::Finding;
use super::needs::Needs;

const CHECK: &str = "libtorch";
const LIBRARY: &str = "libtorch_cpu.so";
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// What was seen of libtorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it says of itself.
    pub(super) version: String,
    /// Version that its folder says, where it says one.
    pub(super) folder_version: Option<String>,
    /// Folder that it was loaded from.
    pub(super) folder: Option<PathBuf>,
    pub(super) has_cuda: bool,
    /// Whether it computes on devices in this process, or why not.
    pub(super) computes: Result<(), String>,
}

pub(super) fn look() -> Seen {
    let version = torch::version().to_owned();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let folder = loaded_from(&maps, LIBRARY);
    let home = folder.as_deref().and_then(Path::parent);
    Seen {
        version,
        folder_version: home.and_then(version_of),
        has_cuda: folder
            .as_ref()
            .is_some_and(|folder| folder.join(CUDA_LIBRARY).exists()),
        folder,
        computes: torch::cuda_available().map_err(|error| error.to_string()),
    }
}

pub(super) fn judge(seen: &Seen, presence: &Presence, needs: &Needs) -> Vec<Finding> {
    let place = match &seen.folder {
        Some(folder) => format!(" from {}", folder.display()),
        None => String::new(),
    };
    let summary = seen.version.lines().next().unwrap_or_default();
    let version = match &seen.folder_version {
        Some(other) if !same_release(summary, other) => Finding::warning(
            CHECK,
            format!("{summary}{place}, which holds version {other}"),
            "unset LD_LIBRARY_PATH, or point it to the libtorch that this program was built with",
        ),
        _ => Finding::ok(CHECK, format!("{summary}{place}")),
    };
    vec![version, form(seen, presence, needs)]
}

fn form(seen: &Seen, presence: &Presence, needs: &Needs) -> Finding {
    const CHECK: &str = "libtorch for CUDA";
    let devices = matches!(presence, Presence::Devices(_));
    if let (true, true, Err(cause)) = (seen.has_cuda, devices, &seen.computes) {
        let remedy =
            "see that the nvidia packages of that torch lie beside it, then run this again";
        let found = format!("{CUDA_LIBRARY} cannot be used: {cause}");
        return Finding::missing(CHECK, found, remedy).for_keys(&needs.any_cuda());
    }
    if seen.has_cuda {
        return Finding::ok(CHECK, format!("{CUDA_LIBRARY} lies beside {LIBRARY}"));
    }
    let found = format!("the form for the CPU: {CUDA_LIBRARY} does not lie beside {LIBRARY}");
    let remedy = "scripts/setup --cuda, then build again; or have LD_LIBRARY_PATH point to torch/lib of a torch wheel for CUDA 13.0";
    match presence {
        Presence::Devices(_) => Finding::missing(CHECK, found, remedy),
        Presence::NoDriver | Presence::NoDevice(_) if needs.cuda.is_empty() => {
            Finding::ok(CHECK, found)
        }
        Presence::NoDriver | Presence::NoDevice(_) => Finding::missing(CHECK, found, remedy),
    }
    .for_keys(&needs.any_cuda())
}

/// Finds the folder of a library in the list of what a process has mapped.
fn loaded_from(maps: &str, library: &str) -> Option<PathBuf> {
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    let mut paths = paths.map(Path::new);
    let found = paths.find(|path| path.file_name().is_some_and(|name| name == library))?;
    found.parent().map(Path::to_owned)
}

/// Reads the version that the folder of libtorch, or of the Python package around it, says.
fn version_of(home: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(home.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(home.join("version.py")).ok()?;
    python_version(&text)
}

fn python_version(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("__version__ ="))?;
    let quoted = line.split(['\'', '"']).nth(1)?;
    Some(quoted.to_owned())
}

/// Tells whether two texts begin with the same version, whatever is built into it.
fn same_release(said: &str, folder: &str) -> bool {
    let release = folder.split(['+', ' ']).next().unwrap_or_default();
    !release.is_empty()
        && said
            .split(|one: char| one.is_whitespace() || one == ',' || one == '+')
            .any(|word| word == release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    fn seen() -> Seen {
        Seen {
            version: "libtorch 2.11.0, AVX2".into(),
            folder_version: Some("2.11.0+cu130".into()),
            folder: Some("/opt/torch/lib".into()),
            has_cuda: false,
            computes: Err("no device".into()),
        }
    }

    fn cuda() -> Needs {
        let mut needs = Needs::default();
        needs.cuda.insert(0, vec!["blocks.a.device".to_owned()]);
        needs
    }

    fn statuses(seen: &Seen, presence: &Presence, needs: &Needs) -> Vec<Status> {
        let findings = judge(seen, presence, needs);
        findings.into_iter().map(|one| one.status).collect()
    }

    #[test]
    fn the_form_for_the_cpu_is_missing_something_only_where_there_are_devices() {
        use Status::{Missing, Ok};
        let none = Needs::default();
        assert_eq!(statuses(&seen(), &Presence::NoDriver, &none), [Ok, Ok]);
        assert_eq!(
            statuses(&seen(), &Presence::Devices(1), &none),
            [Ok, Missing]
        );
        assert_eq!(
            statuses(&seen(), &Presence::NoDriver, &cuda()),
            [Ok, Missing]
        );
        let mut both = seen();
        both.has_cuda = true;
        assert_eq!(statuses(&both, &Presence::NoDriver, &none), [Ok, Ok]);
        assert_eq!(
            statuses(&both, &Presence::Devices(1), &cuda()),
            [Ok, Missing],
            "it cannot be loaded"
        );
        both.computes = Result::Ok(());
        assert_eq!(statuses(&both, &Presence::Devices(1), &cuda()), [Ok, Ok]);
    }

    #[test]
    fn another_library_than_that_of_the_build_is_told() {
        let mut other = seen();
        other.folder_version = Some("2.9.1".into());
        let findings = judge(&other, &Presence::NoDriver, &Needs::default());
        assert_eq!(findings[0].status, Status::Warning);
        assert!(findings[0].found.contains("2.9.1"), "{findings:?}");
    }

    #[test]
    fn the_folder_is_found_among_what_is_mapped() {
        let maps = "7f00-7f10 r-xp 00000000 fe:00 12 /opt/my torch/lib/libtorch_cpu.so\n7f20-7f30 rw-p 0 0:0 0\n";
        let folder = loaded_from(maps, LIBRARY);
        assert_eq!(folder.as_deref(), Some(Path::new("/opt/my torch/lib")));
        assert_eq!(loaded_from("", LIBRARY), None);
    }

    #[test]
    fn a_python_package_says_its_version() {
        let text = "__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ndebug = False\n";
        assert_eq!(python_version(text).as_deref(), Some("2.11.0+cu130"));
        assert_eq!(python_version("cuda = '13.0'"), None);
    }
}
