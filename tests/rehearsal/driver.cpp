// A driver of CUDA for machines that have none: one device whose memory is the host's, and whose streams are queues of work
// that is done as late as the rules allow, and never sooner. Whoever forgets to wait for an event reads what was there before;
// whoever gives memory back too early finds it overwritten. Calls that the real one refuses are refused.
//
// Only what the program calls is here. Built by the tests, as libcuda.so.1.

#include <chrono>
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
              INVALID_HANDLE = 400, NOT_READY = 600, ILLEGAL_ADDRESS = 700, NOT_CAPTURABLE = 900, CAPTURE_BROKEN = 901;
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

struct Event {
  unsigned flags = 0;
  uint64_t recorded = 0; // how often it was put into a stream
  uint64_t reached = 0;  // which of these is done
  Stream *stream = nullptr;
};

struct Stream {
  std::deque<Task> tasks;
  bool capturing = false;
  bool broken = false; // the capture can only be ended
};

std::recursive_mutex lock;
std::map<void *, std::shared_ptr<Event>> events;
std::set<Stream *> streams;
std::map<uint64_t, size_t> memory; // of the device
std::map<uint64_t, size_t> pinned;
size_t taken = 0;
bool lost = false;
thread_local std::vector<void *> current;
thread_local Stream *captures = nullptr; // of this thread
thread_local bool relaxed = false;
int context; // its address is the primary context

using Guard = std::lock_guard<std::recursive_mutex>;

// Does the first task of a stream, and what it has to wait for.
void step(Stream *stream);

void reach(const std::shared_ptr<Event> &event, uint64_t version) {
  while (event->reached < version && event->stream != nullptr && !event->stream->tasks.empty()) {
    step(event->stream);
  }
}

void step(Stream *stream) {
  Task task = stream->tasks.front();
  if (task.wait) {
    reach(task.wait, task.version);
  }
  stream->tasks.pop_front();
  if (task.work) {
    task.work();
  }
  if (task.record && task.record->reached < task.version) {
    task.record->reached = task.version;
  }
}

bool on_device(uint64_t address, size_t bytes) {
  auto after = memory.upper_bound(address);
  if (after == memory.begin()) {
    return false;
  }
  auto [start, size] = *std::prev(after);
  return address + bytes <= start + size;
}

int ready() { return lost ? ILLEGAL_ADDRESS : current.empty() ? INVALID_CONTEXT : SUCCESS; }

// What a thread may not do while it captures, or what nobody may do with a stream that is captured, breaks the capture.
bool breaks(Stream *stream = nullptr) {
  Stream *broken = captures != nullptr && !relaxed ? captures : stream != nullptr && stream->capturing ? stream : nullptr;
  return broken != nullptr && (broken->broken = true);
}

int copy(uint64_t to, uint64_t from, size_t bytes, Stream *stream, bool now) {
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  if (streams.count(stream) == 0) {
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
  auto after = pinned.upper_bound(address);
  if (after == pinned.begin()) {
    return false;
  }
  auto [start, size] = *std::prev(after);
  return address + bytes <= start + size;
}

} // namespace

extern "C" {

// For the rehearsal of libtorch: all that a stream was given is done now.
void rehearsal_finish(Stream *stream) {
  Guard guard(lock);
  while (streams.count(stream) != 0 && !stream->tasks.empty()) {
    step(stream);
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

// Memory of `stream` is given back: overwritten once that comes to it, after what the others were given until now.
void rehearsal_free(Stream *stream, void *data, size_t length, Stream **others, size_t count) {
  Guard guard(lock);
  for (size_t i = 0; i < count; ++i) {
    auto event = std::make_shared<Event>();
    event->stream = others[i];
    event->recorded = 1;
    others[i]->tasks.push_back({{}, event, 1, {}});
    stream->tasks.push_back({{}, {}, 1, event});
  }
  stream->tasks.push_back({[=] { std::memset(data, 0xdb, length); }, {}, 0, {}});
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
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = 0, ordinal == 0 ? SUCCESS : INVALID_DEVICE; }
int cuDeviceGetName(char *name, int length, int) { return std::strncpy(name, "Rehearsal", length), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = TOTAL, SUCCESS; }
int cuDeviceGetUuid_v2(char *uuid, int) { return std::memset(uuid, 0x2a, 16), SUCCESS; }
int cuDeviceCanAccessPeer(int *can, int, int) { return *can = 0, SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
  case 75: *value = 9; break;            // compute capability
  case 76: *value = 0; break;
  case 16: *value = 4; break;            // multiprocessors
  case 41: case 125: *value = 1; break;  // unified addressing, events between processes
  default: *value = 0;
  }
  return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **made, int) { return *made = &context, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxPushCurrent_v2(void *pushed) { return current.push_back(pushed), SUCCESS; }
int cuCtxPopCurrent_v2(void **popped) {
  if (current.empty()) {
    return INVALID_CONTEXT;
  }
  *popped = current.back();
  current.pop_back();
  return SUCCESS;
}
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, ready(); }
int cuGetErrorString(int code, const char **text) {
  *text = code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "told by the rehearsal";
  return SUCCESS;
}
int cuGetErrorName(int, const char **text) { return *text = "REHEARSAL", SUCCESS; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
  Guard guard(lock);
  return *free = TOTAL - taken, *total = TOTAL, ready();
}

int cuStreamCreateWithPriority(Stream **made, unsigned flags, int) {
  Guard guard(lock);
  if (flags != 1) {
    return INVALID_VALUE; // one that waits for the default stream
  }
  streams.insert(*made = new Stream);
  return ready();
}
int cuStreamQuery(Stream *stream) {
  Guard guard(lock);
  if (lost) {
    return ILLEGAL_ADDRESS;
  }
  if (streams.count(stream) == 0) {
    return INVALID_HANDLE;
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
int cuStreamWaitEvent(Stream *stream, void *handle, unsigned) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (streams.count(stream) == 0 || event == events.end()) {
    return INVALID_HANDLE;
  }
  if (stream->capturing) {
    stream->broken = true;
    return NOT_CAPTURABLE;
  }
  stream->tasks.push_back({{}, {}, event->second->recorded, event->second});
  return ready();
}

int cuEventCreate(void **made, unsigned flags) {
  Guard guard(lock);
  if ((flags & 4) != 0 && (flags & 2) == 0) {
    return INVALID_VALUE; // times are not told to other processes
  }
  auto event = std::make_shared<Event>();
  event->flags = flags;
  events[*made = event.get()] = event;
  return ready();
}
int cuEventRecord(void *handle, Stream *stream) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (event == events.end() || streams.count(stream) == 0) {
    return INVALID_HANDLE;
  }
  if (stream->capturing) {
    stream->broken = true;
    return NOT_CAPTURABLE;
  }
  event->second->stream = stream;
  stream->tasks.push_back({{}, event->second, ++event->second->recorded, {}});
  return ready();
}
int cuEventQuery(void *handle) {
  Guard guard(lock);
  auto event = events.find(handle);
  if (lost) {
    return ILLEGAL_ADDRESS;
  }
  if (event == events.end()) {
    return INVALID_HANDLE;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  bool done = event->second->reached == event->second->recorded;
  if (!done && !event->second->stream->tasks.empty()) {
    step(event->second->stream); // time goes by
  }
  return done ? SUCCESS : NOT_READY;
}
// Whoever waits finds what a file says: a device that hangs for as long as it says so, or one that is lost, once.
static void trouble() {
  const char *path = std::getenv("REHEARSAL_TROUBLE");
  std::string told;
  while (path != nullptr && std::ifstream(path) >> told && told == "hang") {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    told.clear();
  }
  if (told == "lose" && std::remove(path) == 0) {
    Guard guard(lock);
    lost = true;
  }
}
int cuEventSynchronize(void *handle) {
  trouble();
  Guard guard(lock);
  auto event = events.find(handle);
  if (event == events.end()) {
    return INVALID_HANDLE;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  reach(event->second, event->second->recorded);
  return ready();
}
int cuEventElapsedTime_v2(float *milliseconds, void *, void *) { return *milliseconds = 1.5f, SUCCESS; }
int cuEventDestroy_v2(void *handle) {
  Guard guard(lock);
  return events.erase(handle) == 1 ? SUCCESS : INVALID_HANDLE;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  Guard guard(lock);
  if (bytes == LOSES) {
    lost = true;
    return ILLEGAL_ADDRESS;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  if (taken + bytes > TOTAL) {
    return OUT_OF_MEMORY;
  }
  void *data = std::malloc(bytes);
  std::memset(data, 0xdb, bytes);
  memory[*address = reinterpret_cast<uint64_t>(data)] = bytes;
  taken += bytes;
  return ready();
}
int cuMemFree_v2(uint64_t address) {
  Guard guard(lock);
  auto found = memory.find(address);
  if (found == memory.end()) {
    return INVALID_VALUE;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  // Waits for the device, as the real one does.
  for (Stream *stream : streams) {
    rehearsal_finish(stream);
  }
  std::memset(reinterpret_cast<void *>(address), 0xdb, found->second);
  taken -= found->second;
  memory.erase(found);
  std::free(reinterpret_cast<void *>(address));
  return SUCCESS;
}
int cuMemHostAlloc(void **made, size_t bytes, unsigned) {
  Guard guard(lock);
  if (int refused = ready(); refused != SUCCESS) {
    return refused;
  }
  if (breaks()) {
    return NOT_CAPTURABLE;
  }
  *made = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned[reinterpret_cast<uint64_t>(*made)] = bytes;
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
  return on_device(to, bytes) ? copy(to, source, bytes, stream, !is_pinned(source, bytes)) : INVALID_VALUE;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, Stream *stream) {
  Guard guard(lock);
  return on_device(from, bytes) ? copy(reinterpret_cast<uint64_t>(to), from, bytes, stream, false) : INVALID_VALUE;
}
int cuMemGetAddressRange_v2(uint64_t *start, size_t *size, uint64_t address) {
  Guard guard(lock);
  auto found = memory.find(address);
  if (found == memory.end()) {
    return INVALID_VALUE;
  }
  return *start = found->first, *size = found->second, SUCCESS;
}

// A handle is the address, which is of use in this process alone.
int cuIpcGetMemHandle(char *handle, uint64_t address) {
  Guard guard(lock);
  std::memset(handle, 1, 64);
  std::memcpy(handle, &address, sizeof address);
  return memory.count(address) == 1 ? SUCCESS : INVALID_VALUE;
}
struct Handle {
  char bytes[64];
};
int cuIpcOpenMemHandle_v2(uint64_t *, Handle, unsigned) { return INVALID_CONTEXT; }
int cuIpcCloseMemHandle(uint64_t) { return SUCCESS; }
int cuIpcGetEventHandle(char *handle, void *event) {
  Guard guard(lock);
  auto found = events.find(event);
  if (found == events.end() || (found->second->flags & 4) == 0) {
    return INVALID_HANDLE;
  }
  std::memset(handle, 2, 64);
  std::memcpy(handle, &event, sizeof event);
  return SUCCESS;
}
int cuIpcOpenEventHandle(void **, Handle) { return INVALID_CONTEXT; }
}
