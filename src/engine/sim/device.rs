//! One simulated device of this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::engine::ledger::Ledger;
use crate::engine::{EngineError, OutOfMemory};
use crate::types::{Device, DeviceFault, DeviceSpec, FaultPoint, lock};

use super::script::Script;

/// A simulated device.
#[derive(Debug)]
pub(in crate::engine) struct SimDevice {
    device: Device,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    copy_bytes_per_s: Option<u64>,
    /// Why nothing runs here any more.
    lost: Option<String>,
}

static DEVICES: Mutex<BTreeMap<Device, Arc<SimDevice>>> = Mutex::new(BTreeMap::new());

impl SimDevice {
    /// Returns a device, if it is a simulated one.
    pub(in crate::engine) fn of(device: Device) -> Option<Arc<Self>> {
        let make = || {
            Arc::new(Self {
                device,
                state: Mutex::default(),
            })
        };
        matches!(device, Device::Sim(_))
            .then(|| lock(&DEVICES).entry(device).or_insert_with(make).clone())
    }

    /// Has devices be as a configuration says from now on. One that is lost stays so.
    pub(in crate::engine) fn set_all(specs: &[DeviceSpec]) {
        for spec in specs {
            Self::of(spec.device);
        }
        let devices: Vec<_> = lock(&DEVICES).values().cloned().collect();
        for device in devices {
            let said = DeviceSpec::of(specs, device.device);
            let mut state = lock(&device.state);
            state.copy_bytes_per_s = said.copy_bytes_per_s;
            state.script.set(&said.faults);
        }
    }

    /// Tells whether anything can run here.
    pub(in crate::engine) fn check(&self) -> Result<(), EngineError> {
        match &lock(&self.state).lost {
            Some(cause) => Err(self.lost(cause.clone())),
            None => Ok(()),
        }
    }

    /// Begins a call of a block, and has it fail, or take longer, where that is due. `bytes` are what it needs.
    pub(in crate::engine) fn enter(
        &self,
        at: FaultPoint,
        block: &str,
        bytes: u64,
    ) -> Result<(), EngineError> {
        self.check()?;
        let fault = lock(&self.state).script.next(at, block);
        let what = match at {
            FaultPoint::Load => "loading",
            FaultPoint::Run => "running",
        };
        match fault {
            None => Ok(()),
            Some(DeviceFault::Hang { time }) => {
                thread::sleep(time);
                Ok(())
            }
            Some(DeviceFault::Error) => {
                let device = self.device;
                let cause = format!("{device} fails {what} block {block:?}, as declared");
                Err(EngineError::Fault(cause))
            }
            Some(DeviceFault::OutOfMemory) => {
                let memory = Ledger::of(self.device).memory();
                Err(OutOfMemory {
                    device: self.device,
                    wanted: bytes,
                    held: memory.held(),
                    limit: memory.limit,
                }
                .into())
            }
            Some(DeviceFault::Sticky) => {
                let cause = format!("a sticky error {what} block {block:?}, as declared");
                lock(&self.state).lost = Some(cause.clone());
                Err(self.lost(cause))
            }
        }
    }

    /// Takes as long as so many bytes need over the link.
    pub(in crate::engine) fn transfer(&self, bytes: u64) {
        let rate = lock(&self.state).copy_bytes_per_s;
        if let Some(rate) = rate.filter(|_| bytes > 0) {
            #[expect(clippy::cast_precision_loss, reason = "microseconds do not matter")]
            thread::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
    }

    fn lost(&self, cause: String) -> EngineError {
        EngineError::DeviceLost {
            device: self.device,
            cause,
        }
    }
}
