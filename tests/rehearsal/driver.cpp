// A driver of CUDA for machines that have none: devices whose memory is the host's, and whose streams are queues of work
// that is done as late as the rules allow, and never sooner. Whoever forgets to wait for an event reads what was there before;
// whoever gives memory back too early finds it overwritten. Calls that the real one refuses are refused, and so is whatever
// mixes what belongs to different devices.
//
// REHEARSAL_DEVICES is how many there are, 1 unless it is said; REHEARSAL_PEERS=0 has none read another's memory directly;
// REHEARSAL_NO_IPC=1 has processes share none of it.
//
// Memory and events are shown to other processes as those of a device are: memory of whole pages lies in a file without a name,
// and so does the state of an event for processes, which is reached a little later than it is recorded. Nothing of it outlives the
// last process that has it.
//
// Only what the program calls is here. Built by the tests, as libcuda.so.1.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
              PEER_ACCESS_UNSUPPORTED = 217, INVALID_HANDLE = 400, NOT_READY = 600, ILLEGAL_ADDRESS = 700,
              PEER_ACCESS_ALREADY_ENABLED = 704, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, NOT_SUPPORTED = 801,
              NOT_CAPTURABLE = 900, CAPTURE_BROKEN = 901;
constexpr int DEVICES_MAX = 8;
// Memory of so many bytes, or several times as many, can be shown to other processes.
constexpr size_t PAGE = size_t{2} << 20;
constexpr size_t TOTAL = size_t{1} << 30;
// Whoever asks for just as many bytes loses the device.
constexpr size_t LOSES = size_t{0x105e} << 21;

struct Event;
struct Stream;

struct Task {
  std::function<void()> work;    // or
  std::shared_ptr<Event> record; // one of these
  uint64_t version = 0;
  std::shared_ptr<Event> wait;
};

using Clock = std::chrono::steady_clock;

// What processes know of an event.
struct State {
  std::atomic<uint64_t> recorded{0}; // how often it was put into a stream
  std::atomic<uint64_t> reached{0};  // which of these is done
  std::atomic<pid_t> owner{0};
};

struct Event {
  int device = 0;
  unsigned flags = 0;
  State own;
  State *state = &own;
  int file = -1; // of the state, where processes share it
  bool foreign = false;
  Clock::time_point at; // when
  Stream *stream = nullptr;

  ~Event() {
    if (state != &own) {
      munmap(state, sizeof(State));
    }
    if (file >= 0) {
      close(file);
    }
  }
};

// A file without a name, of this and other processes.
void *shared(int file, size_t bytes) {
  void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return data == MAP_FAILED ? nullptr : data;
}

struct Stream {
  int device = 0;
  std::deque<Task> tasks;
  bool capturing = false;
  bool broken = false; // the capture can only be ended
};

struct Memory {
  size_t bytes;
  int device;
  bool portable = false; // pinned for all devices
};

struct Device {
  int context = 0; // its address is the primary context
  size_t taken = 0;
  bool lost = false;
  std::set<int> peers; // whose memory it reads directly
};

std::recursive_mutex lock;
std::map<void *, std::shared_ptr<Event>> events;
std::set<Stream *> streams;
std::map<uint64_t, Memory> memory; // of devices
std::map<uint64_t, Memory> pinned;
std::map<uint64_t, Memory> registered; // of the host, by its owner
std::map<uint64_t, int> files;         // of memory that can be shown
std::set<uint64_t> mapped;             // memory of other processes
bool ending = false;
Device devices[DEVICES_MAX];
thread_local std::vector<void *> current;
thread_local Stream *captures = nullptr; // of this thread
thread_local bool relaxed = false;

int count() {
  const char *said = std::getenv("REHEARSAL_DEVICES");
  const int count = said != nullptr ? std::atoi(said) : 1;
  return count < 0 ? 0 : count > DEVICES_MAX ? DEVICES_MAX : count;
}
bool has_peers() {
  const char *said = std::getenv("REHEARSAL_PEERS");
  return said == nullptr || std::string(said) != "0";
}
// The device of a context, or -1.
int device_of(const void *context) {
  for (int device = 0; device < count(); ++device) {
    if (context == &devices[device].context) {
      return device;
    }
  }
  return -1;
}
int current_device() { return current.empty() ? -1 : device_of(current.back()); }

using Guard = std::lock_guard<std::recursive_mutex>;

// Does the first task of a stream, and what it has to wait for. Tells whether it is done: another process may be at it still.
bool step(Stream *stream);

bool reach(const std::shared_ptr<Event> &event, uint64_t version) {
  if (event->foreign) {
    // Whoever was to reach it and is gone holds up nobody.
    return event->state->reached >= version || (kill(event->state->owner, 0) != 0 && errno == ESRCH);
  }
  while (event->state->reached < version && event->stream != nullptr && !event->stream->tasks.empty()) {
    if (!step(event->stream)) {
      return false;
    }
  }
  return true;
}

bool step(Stream *stream) {
  Task task = stream->tasks.front();
  if (task.wait && !reach(task.wait, task.version)) {
    return false;
  }
  stream->tasks.pop_front();
  if (task.work) {
    task.work();
  }
  if (task.record && task.record->state->reached < task.version) {
    task.record->at = Clock::now();
    task.record->state->reached = task.version;
  }
  return true;
}

void nap() { std::this_thread::sleep_for(std::chrono::microseconds(100)); }

// Other processes wait for what this one was given, so time goes by without anybody asking.
void drain() {
  static bool draining = false;
  if (draining) {
    return;
  }
  draining = true;
  std::atexit([] {
    Guard guard(lock);
    ending = true;
  });
  std::thread([] {
    for (;;) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      Guard guard(lock);
      if (ending) {
        return;
      }
      for (Stream *stream : streams) {
        while (!stream->tasks.empty() && step(stream)) {
        }
      }
    }
  }).detach();
}

bool shows_nothing() { return std::getenv("REHEARSAL_NO_IPC") != nullptr; }

// The allocation that so many bytes are part of, or null.
const Memory *around(const std::map<uint64_t, Memory> &all, uint64_t address, size_t bytes) {
  auto after = all.upper_bound(address);
  if (after == all.begin()) {
    return nullptr;
  }
  const auto &[start, found] = *std::prev(after);
  return address + bytes <= start + found.bytes ? &found : nullptr;
}

bool on_device(uint64_t address, size_t bytes, int device) {
  const Memory *found = around(memory, address, bytes);
  return found != nullptr && found->device == device;
}

int ready() {
  const int device = current_device();
  return device < 0 ? INVALID_CONTEXT : devices[device].lost ? ILLEGAL_ADDRESS : SUCCESS;
}

// The current device is that of the stream, without which kernels are refused, and here copies too.
bool is_here(Stream *stream) { return streams.count(stream) != 0 && stream->device == current_device(); }

// What a thread may not do while it captures, or what nobody may do with a stream that is captured, breaks the capture.
bool breaks(Stream *stream = nullptr) {
  Stream *broken = captures != nullptr && !relaxed ? captures : stream != nullptr && stream->capturing ? stream : nullptr;
  return broken != nullptr && (broken->broken = true);
}

int copy(uint64_t to, uint64_t from, size_t bytes, Stream *stream, bool now) {
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  if (!is_here(stream)) {
    return INVALID_HANDLE;
  }
  if (stream->capturing) {
    stream->broken = true;
    return NOT_CAPTURABLE;
  }
  auto work = [=] { std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes); };
  if (now) {
    // From pageable memory: read into a buffer of the driver's at once.
    auto buffer = std::make_shared<std::vector<char>>(reinterpret_cast<char *>(from),
                                                      reinterpret_cast<char *>(from) + bytes);
    stream->tasks.push_back({[=] { std::memcpy(reinterpret_cast<void *>(to), buffer->data(), bytes); }, {}, 0, {}});
  } else {
    stream->tasks.push_back({work, {}, 0, {}});
  }
  return SUCCESS;
}

bool is_pinned(uint64_t address, size_t bytes) {
  for (const auto *all : {&pinned, &registered}) {
    const Memory *found = around(*all, address, bytes);
    if (found != nullptr && (found->portable || found->device == current_device())) {
      return true;
    }
  }
  return false;
}

// Host memory of which part is registered, and part is not, is refused as a whole.
bool straddles(uint64_t address, size_t bytes) {
  for (const auto &[start, found] : registered) {
    const uint64_t end = start + found.bytes;
    if (address < end && start < address + bytes && (address < start || address + bytes > end)) {
      return true;
    }
  }
  return false;
}

} // namespace

extern "C" {

// For the rehearsal of libtorch: all that a stream was given is done now.
void rehearsal_finish(Stream *stream) {
  for (;; nap()) {
    Guard guard(lock);
    while (streams.count(stream) != 0 && !stream->tasks.empty() && step(stream)) {
    }
    if (streams.count(stream) == 0 || stream->tasks.empty()) {
      return;
    }
  }
}

// Memory is what `bytes` hold once the stream comes to it, which is not before, and what was there before is no more.
void rehearsal_publish(Stream *stream, void *data, const void *bytes, size_t length) {
  Guard guard(lock);
  auto *first = static_cast<const char *>(bytes);
  auto kept = std::make_shared<std::vector<char>>(first, first + length);
  std::memset(data, 0xdb, length);
  stream->tasks.push_back({[=] { std::memcpy(data, kept->data(), length); }, {}, 0, {}});
}

// Memory is still what it was now when the stream comes to the kernel that reads it.
void rehearsal_expect(Stream *stream, const void *data, size_t length) {
  Guard guard(lock);
  auto *first = static_cast<const char *>(data);
  auto kept = std::make_shared<std::vector<char>>(first, first + length);
  auto compare = [=] {
    if (std::memcmp(data, kept->data(), length) != 0) {
      std::fputs("rehearsal: memory was given to others while a kernel was to read it\n", stderr);
      std::abort();
    }
  };
  stream->tasks.push_back({compare, {}, 0, {}});
}

// Memory of `stream` is given back: overwritten once that comes to it, after what the others were given until now, and told.
void rehearsal_free(Stream *stream, void *data, size_t length, Stream **others, size_t count, void (*told)(void *)) {
  Guard guard(lock);
  for (size_t i = 0; i < count; ++i) {
    auto event = std::make_shared<Event>();
    event->device = others[i]->device;
    event->stream = others[i];
    event->state->recorded = 1;
    others[i]->tasks.push_back({{}, event, 1, {}});
    stream->tasks.push_back({{}, {}, 1, event});
  }
  auto give = [=] {
    std::memset(data, 0xdb, length);
    told(data);
  };
  stream->tasks.push_back({give, {}, 0, {}});
}

// Work that a stream does when it comes to it. `drop` is called once it has.
void rehearsal_task(Stream *stream, void (*work)(void *), void *data, void (*drop)(void *)) {
  Guard guard(lock);
  std::shared_ptr<void> kept(data, drop);
  stream->tasks.push_back({[=] { work(kept.get()); }, {}, 0, {}});
}

// What this thread may not do while it captures it may do meanwhile, as an allocator has to.
void rehearsal_relax(bool on) { relaxed = on; }

int cuStreamBeginCapture_v2(Stream *stream, int mode) {
  Guard guard(lock);
  if (streams.count(stream) == 0 || captures != nullptr) {
    return INVALID_HANDLE;
  }
  if (mode != 1) {
    return INVALID_VALUE; // calls of other threads would break it
  }
  captures = stream;
  stream->capturing = true;
  stream->broken = false;
  return SUCCESS;
}
int cuStreamIsCapturing(Stream *stream, int *status) {
  Guard guard(lock);
  return *status = !stream->capturing ? 0 : stream->broken ? 2 : 1, SUCCESS;
}
int cuStreamEndCapture(Stream *stream, void **graph) {
  Guard guard(lock);
  *graph = nullptr;
  if (!stream->capturing || captures != stream) {
    return INVALID_VALUE;
  }
  captures = nullptr;
  stream->capturing = false;
  return stream->broken ? CAPTURE_BROKEN : SUCCESS;
}
int cuGraphDestroy(void *) { return SUCCESS; }

int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int *version) {
  const char *other = std::getenv("REHEARSAL_VERSION");
  return *version = other != nullptr ? std::atoi(other) : 13000, SUCCESS;
}
int cuDeviceGetCount(int *found) { return *found = count(), SUCCESS; }
int cuDeviceGet(int *device, int ordinal) {
  return *device = ordinal, ordinal >= 0 && ordinal < count() ? SUCCESS : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int length, int) { return std::strncpy(name, "Rehearsal", length), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = TOTAL, SUCCESS; }
int cuDeviceGetUuid_v2(char *uuid, int device) {
  std::memset(uuid, 0x2a, 16);
  return uuid[15] = static_cast<char>(device), SUCCESS;
}
int cuDeviceCanAccessPeer(int *can, int device, int peer) {
  return *can = device != peer && has_peers(), SUCCESS;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
  case 33: *value = device; break;       // PCI bus
  case 75: *value = 9; break;            // compute capability
  case 76: *value = 0; break;
  case 16: *value = 4; break;            // multiprocessors
  case 41: case 113: *value = 1; break;  // unified addressing, host memory that is only read can be registered
  case 125: *value = shows_nothing() ? 0 : 1; break; // events between processes
  default: *value = 0;
  }
  return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **made, int device) { return *made = &devices[device].context, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxPushCurrent_v2(void *pushed) {
  return device_of(pushed) < 0 ? INVALID_CONTEXT : (current.push_back(pushed), SUCCESS);
}
int cuCtxPopCurrent_v2(void **popped) {
  if (current.empty()) {
    return INVALID_CONTEXT;
  }
  *popped = current.back();
  current.pop_back();
  return SUCCESS;
}
int cuCtxEnablePeerAccess(void *peer, unsigned flags) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  const int device = current_device(), other = device_of(peer);
  if (other < 0 || other == device) {
    return INVALID_DEVICE;
  }
  if (flags != 0) {
    return INVALID_VALUE;
  }
  if (!has_peers()) {
    return PEER_ACCESS_UNSUPPORTED;
  }
  return devices[device].peers.insert(other).second ? SUCCESS : PEER_ACCESS_ALREADY_ENABLED;
}
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, ready(); }
int cuGetErrorString(int code, const char **text) {
  *text = code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "told by the rehearsal";
  return SUCCESS;
}
int cuGetErrorName(int, const char **text) { return *text = "REHEARSAL", SUCCESS; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  return *free = TOTAL - devices[current_device()].taken, *total = TOTAL, SUCCESS;
}

int cuStreamCreateWithPriority(Stream **made, unsigned flags, int) {
  Guard guard(lock);
  if (flags != 1) {
    return INVALID_VALUE; // one that waits for the default stream
  }
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  streams.insert(*made = new Stream{current_device(), {}});
  return SUCCESS;
}
int cuStreamQuery(Stream *stream) {
  Guard guard(lock);
  if (streams.count(stream) == 0) {
    return INVALID_HANDLE;
  }
  if (devices[stream->device].lost) {
    return ILLEGAL_ADDRESS;
  }
  if (breaks(stream)) {
    return NOT_CAPTURABLE;
  }
  bool busy = !stream->tasks.empty();
  if (busy) {
    step(stream); // time goes by
  }
  return busy ? NOT_READY : SUCCESS;
}
// The event may be another device's.
int cuStreamWaitEvent(Stream *stream, void *handle, unsigned) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (!is_here(stream) || event == events.end()) {
    return INVALID_HANDLE;
  }
  if (stream->capturing) {
    stream->broken = true;
    return NOT_CAPTURABLE;
  }
  stream->tasks.push_back({{}, {}, event->second->state->recorded, event->second});
  return ready();
}

int cuEventCreate(void **made, unsigned flags) {
  Guard guard(lock);
  if ((flags & 4) != 0 && (flags & 2) == 0) {
    return INVALID_VALUE; // times are not told to other processes
  }
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  auto event = std::make_shared<Event>();
  event->device = current_device();
  event->flags = flags;
  if ((flags & 4) != 0) {
    event->file = memfd_create("rehearsal-event", MFD_CLOEXEC);
    void *data = ftruncate(event->file, sizeof(State)) == 0 ? shared(event->file, sizeof(State)) : nullptr;
    if (data == nullptr) {
      return OUT_OF_MEMORY;
    }
    event->state = new (data) State;
    event->state->owner = getpid();
  }
  events[*made = event.get()] = event;
  return SUCCESS;
}
int cuEventRecord(void *handle, Stream *stream) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (event == events.end() || !is_here(stream) || event->second->device != stream->device || event->second->foreign) {
    return INVALID_HANDLE;
  }
  if (stream->capturing) {
    stream->broken = true;
    return NOT_CAPTURABLE;
  }
  event->second->stream = stream;
  stream->tasks.push_back({{}, event->second, ++event->second->state->recorded, {}});
  return ready();
}
// A device that hangs is never done.
static bool hangs(int device) {
  const char *path = std::getenv("REHEARSAL_TROUBLE");
  if (path == nullptr) {
    return false;
  }
  std::string told;
  int which = device;
  std::ifstream file(path);
  file >> told >> which;
  return told == "hang" && (which == device || file.fail());
}
int cuEventQuery(void *handle) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (event == events.end()) {
    return INVALID_HANDLE;
  }
  if (devices[event->second->device].lost) {
    return ILLEGAL_ADDRESS;
  }
  if (hangs(event->second->device)) {
    return NOT_READY;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  const State &state = *event->second->state;
  bool done = state.reached == state.recorded;
  if (!done && !event->second->foreign && !event->second->stream->tasks.empty()) {
    step(event->second->stream); // time goes by
  }
  return done ? SUCCESS : NOT_READY;
}
// Whoever waits finds what a file says: a device that hangs for as long as it says so, or one that is lost, once. A number
// behind it is that of the device.
static void trouble(int device) {
  const char *path = std::getenv("REHEARSAL_TROUBLE");
  std::string told;
  auto look = [&] {
    int which = device;
    told.clear();
    std::ifstream file(path);
    file >> told >> which;
    return which == device || file.fail();
  };
  if (path == nullptr || !look()) {
    return;
  }
  while (told == "hang" && look()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (told == "lose" && std::remove(path) == 0) {
    Guard guard(lock);
    devices[device].lost = true;
  }
}
int cuEventSynchronize(void *handle) {
  int device = 0;
  {
    Guard guard(lock);
    auto event = events.find(handle);
    if (event == events.end()) {
      return INVALID_HANDLE;
    }
    device = event->second->device;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  trouble(device);
  for (;; nap()) {
    Guard guard(lock);
    auto event = events.find(handle);
    if (event == events.end()) {
      return INVALID_HANDLE;
    }
    if (devices[device].lost) {
      return ILLEGAL_ADDRESS;
    }
    if (reach(event->second, event->second->state->recorded)) {
      return SUCCESS;
    }
  }
}
int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
  Guard guard(lock);
  auto from = events.find(start), to = events.find(end);
  if (from == events.end() || to == events.end() || from->second->device != to->second->device) {
    return INVALID_HANDLE;
  }
  for (const auto &event : {from->second, to->second}) {
    if ((event->flags & 2) != 0 || event->state->recorded == 0) {
      return INVALID_HANDLE; // it knows no times
    }
    if (event->state->reached != event->state->recorded) {
      return NOT_READY;
    }
  }
  const std::chrono::duration<float, std::milli> apart = to->second->at - from->second->at;
  return *milliseconds = apart.count(), SUCCESS;
}
int cuEventDestroy_v2(void *handle) {
  Guard guard(lock);
  return events.erase(handle) == 1 ? SUCCESS : INVALID_HANDLE;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  Device &device = devices[current_device()];
  if (bytes == LOSES) {
    device.lost = true;
    return ILLEGAL_ADDRESS;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  if (device.taken + bytes > TOTAL) {
    return OUT_OF_MEMORY;
  }
  void *data = nullptr;
  if (bytes % PAGE == 0) {
    int file = memfd_create("rehearsal-memory", MFD_CLOEXEC);
    data = ftruncate(file, static_cast<off_t>(bytes)) == 0 ? shared(file, bytes) : nullptr;
    if (data == nullptr) {
      return close(file), OUT_OF_MEMORY;
    }
    files[reinterpret_cast<uint64_t>(data)] = file;
  } else {
    // As the real one's: kernels of the CPU round otherwise where memory lies otherwise.
    data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  }
  std::memset(data, 0xdb, bytes);
  memory[*address = reinterpret_cast<uint64_t>(data)] = {bytes, current_device()};
  device.taken += bytes;
  return SUCCESS;
}
// Waits for the device, as the real one does.
static void finish_all() {
  std::set<Stream *> all;
  {
    Guard guard(lock);
    all = streams;
  }
  for (Stream *stream : all) {
    rehearsal_finish(stream);
  }
}
int cuMemFree_v2(uint64_t address) {
  {
    Guard guard(lock);
    if (breaks()) {
      return NOT_CAPTURABLE;
    }
  }
  finish_all();
  Guard guard(lock);
  auto found = memory.find(address);
  if (found == memory.end() || mapped.count(address) != 0) {
    return INVALID_VALUE;
  }
  auto *data = reinterpret_cast<void *>(address);
  std::memset(data, 0xdb, found->second.bytes);
  devices[found->second.device].taken -= found->second.bytes;
  if (auto file = files.find(address); file != files.end()) {
    munmap(data, found->second.bytes);
    close(file->second);
    files.erase(file);
  } else {
    std::free(data);
  }
  memory.erase(found);
  return SUCCESS;
}
// Memory of the host that somebody else owns.
int cuMemHostRegister_v2(void *data, size_t bytes, unsigned flags) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  auto address = reinterpret_cast<uint64_t>(data);
  if (bytes == 0 || address % 4096 != 0) {
    return INVALID_VALUE;
  }
  auto after = registered.lower_bound(address);
  bool overlaps = after != registered.end() && after->first < address + bytes;
  if (overlaps || around(registered, address, 1) != nullptr) {
    return ALREADY_REGISTERED;
  }
  registered[address] = {bytes, current_device(), (flags & 1) != 0};
  return SUCCESS;
}
int cuMemHostUnregister(void *data) {
  finish_all();
  Guard guard(lock);
  return registered.erase(reinterpret_cast<uint64_t>(data)) == 1 ? SUCCESS : NOT_REGISTERED;
}
int cuMemHostAlloc(void **made, size_t bytes, unsigned flags) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  *made = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned[reinterpret_cast<uint64_t>(*made)] = {bytes, current_device(), (flags & 1) != 0};
  return SUCCESS;
}
int cuMemFreeHost(void *data) {
  Guard guard(lock);
  if (pinned.erase(reinterpret_cast<uint64_t>(data)) != 1) {
    return INVALID_VALUE;
  }
  return std::free(data), SUCCESS;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, Stream *stream) {
  Guard guard(lock);
  auto source = reinterpret_cast<uint64_t>(from);
  if (straddles(source, bytes)) {
    return INVALID_VALUE;
  }
  return on_device(to, bytes, current_device()) ? copy(to, source, bytes, stream, !is_pinned(source, bytes))
                                                : INVALID_VALUE;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, Stream *stream) {
  Guard guard(lock);
  if (straddles(reinterpret_cast<uint64_t>(to), bytes)) {
    return INVALID_VALUE;
  }
  return on_device(from, bytes, current_device()) ? copy(reinterpret_cast<uint64_t>(to), from, bytes, stream, false)
                                                  : INVALID_VALUE;
}
// Without access to the peer the real one goes through memory of the host by itself.
int cuMemcpyPeerAsync(uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes, Stream *stream) {
  Guard guard(lock);
  const int target = device_of(to_context), source = device_of(from_context);
  if (target < 0 || source < 0) {
    return INVALID_CONTEXT;
  }
  if (devices[source].lost) {
    return ILLEGAL_ADDRESS;
  }
  return on_device(to, bytes, target) && on_device(from, bytes, source) ? copy(to, from, bytes, stream, false)
                                                                        : INVALID_VALUE;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream *stream) {
  Guard guard(lock);
  const int device = current_device();
  return on_device(from, bytes, device) && on_device(to, bytes, device) ? copy(to, from, bytes, stream, false)
                                                                        : INVALID_VALUE;
}
int cuMemGetAddressRange_v2(uint64_t *start, size_t *size, uint64_t address) {
  Guard guard(lock);
  auto found = memory.find(address);
  if (found == memory.end()) {
    return INVALID_VALUE;
  }
  return *start = found->first, *size = found->second.bytes, SUCCESS;
}

// A handle names a file of the process that made it, which is of no use in that process itself.
struct Handle {
  char bytes[64];
};
struct Named {
  char kind;
  pid_t process;
  int file;
  uint64_t bytes;
};
static int name(char *handle, Named named) {
  std::memset(handle, named.kind, sizeof(Handle));
  std::memcpy(handle, &named, sizeof named);
  return SUCCESS;
}
// Maps what a handle names.
static int open_named(const Handle &handle, char kind, const char *of, void **data, uint64_t *bytes) {
  Named named;
  std::memcpy(&named, handle.bytes, sizeof named);
  if (shows_nothing()) {
    return NOT_SUPPORTED;
  }
  if (named.kind != kind || named.process == getpid()) {
    return INVALID_CONTEXT;
  }
  std::string path = "/proc/" + std::to_string(named.process) + "/fd/" + std::to_string(named.file);
  char target[64] = {};
  struct stat found = {};
  if (readlink(path.c_str(), target, sizeof target - 1) < 0 || std::strstr(target, of) == nullptr) {
    return INVALID_VALUE;
  }
  int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  bool sound = file >= 0 && fstat(file, &found) == 0 && static_cast<uint64_t>(found.st_size) == named.bytes;
  *data = sound ? shared(file, named.bytes) : nullptr;
  *bytes = named.bytes;
  close(file);
  return *data == nullptr ? INVALID_VALUE : SUCCESS;
}
int cuIpcGetMemHandle(char *handle, uint64_t address) {
  Guard guard(lock);
  if (shows_nothing()) {
    return NOT_SUPPORTED;
  }
  auto file = files.find(address);
  return file == files.end() ? INVALID_VALUE : name(handle, {1, getpid(), file->second, memory[address].bytes});
}
int cuIpcOpenMemHandle_v2(uint64_t *address, Handle handle, unsigned) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  void *data = nullptr;
  uint64_t bytes = 0;
  if (int refused = open_named(handle, 1, "rehearsal-memory", &data, &bytes); refused != SUCCESS) {
    return refused;
  }
  *address = reinterpret_cast<uint64_t>(data);
  mapped.insert(*address);
  memory[*address] = {bytes, current_device()};
  drain();
  return SUCCESS;
}
int cuIpcCloseMemHandle(uint64_t address) {
  finish_all();
  Guard guard(lock);
  if (mapped.erase(address) != 1) {
    return INVALID_VALUE;
  }
  munmap(reinterpret_cast<void *>(address), memory[address].bytes);
  return memory.erase(address), SUCCESS;
}
int cuIpcGetEventHandle(char *handle, void *event) {
  Guard guard(lock);
  auto found = events.find(event);
  if (found == events.end() || found->second->file < 0) {
    return INVALID_HANDLE;
  }
  drain();
  return name(handle, {2, getpid(), found->second->file, sizeof(State)});
}
int cuIpcOpenEventHandle(void **made, Handle handle) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  void *data = nullptr;
  uint64_t bytes = 0;
  if (int refused = open_named(handle, 2, "rehearsal-event", &data, &bytes); refused != SUCCESS) {
    return refused;
  }
  auto event = std::make_shared<Event>();
  event->device = current_device();
  event->state = static_cast<State *>(data);
  event->foreign = true;
  events[*made = event.get()] = event;
  drain();
  return SUCCESS;
}
}
