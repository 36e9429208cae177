// The CUDA half of libtorch over the rehearsed driver: kernels are those of the CPU, over memory of the device. What a kernel
// computes is there when its stream comes to it and not before; memory that is given back is overwritten in the order of its
// stream and of those that were recorded for it, and then kept for the next of that size. A kernel that is given tensors of
// both sides, or of two devices, refuses them.
//
// While a thread captures a graph its kernels are noted and not done. A replay is one more piece of work of its stream, over the
// memory that was noted; memory that was taken meanwhile stays the graph's until that is freed.
//
// Products of FP32 read 10 bits of each mantissa where libtorch would have cuBLAS do so. With REHEARSAL_CUDNN, a file, there is a
// cuDNN for convolutions: it does likewise where it is told to, and for each time that it is to try its algorithms the file
// grows by a byte.
//
// Built by the tests, as libtorch_cuda.so.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <torch/library.h>

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace {

struct Stream;
using Queue = Stream; // of the driver, where another Stream is meant

void *driver(const char *name) {
  static void *library = dlopen("libcuda.so", RTLD_NOW);
  return dlsym(library, name);
}
template <typename F> F *call(const char *name) { return reinterpret_cast<F *>(driver(name)); }

int devices() {
  static const int count = [] {
    int count = 0;
    call<int(int *)>("cuDeviceGetCount")(&count);
    return count;
  }();
  return count;
}

at::Device cuda(int device) { return {at::kCUDA, static_cast<at::DeviceIndex>(device)}; }

// Of the thread: its device, and the stream of each.
thread_local int device = 0;
thread_local std::map<int, int64_t> current;

// A device is the thread's for a while.
struct OnDevice {
  int before = device;
  explicit OnDevice(int other) { device = other; }
  ~OnDevice() { device = before; }
};

Stream *stream_of(int64_t id) {
  TORCH_CHECK(id != 0, "rehearsal: work is given to the default stream");
  return reinterpret_cast<Stream *>(id);
}

void finish() {
  static auto *finish = call<void(Stream *)>("rehearsal_finish");
  finish(stream_of(current[device]));
}

using c10::MempoolId_t;
const MempoolId_t NO_POOL{0, 0};

// What a thread has noted of a graph.
struct Recording {
  std::vector<std::function<void()>> work;
};
thread_local Recording *recording = nullptr;

struct Block {
  size_t bytes;
  int device;
  int64_t stream;
  std::set<int64_t> others;
  MempoolId_t pool = NO_POOL;
  bool dead = false; // no tensor has it, and its pool keeps it
};
std::mutex lock;
std::map<void *, Block> blocks; // of tensors
std::map<void *, Block> given;  // back, and not yet by their streams
std::map<void *, Block> kept;   // for the next tensors of their streams
std::map<MempoolId_t, int> pools;               // by how many graphs use them
std::map<MempoolId_t, int64_t> taken_by_stream; // of pools from which a stream takes now

void relax(bool on) {
  static auto *relax = call<void(bool)>("rehearsal_relax");
  relax(on);
}

struct Allocator final : c10::cuda::CUDACachingAllocator::CUDAAllocator {
  at::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, cuda(device)};
    }
    const int64_t stream = current[device];
    (void)stream_of(stream);
    const MempoolId_t pool = pool_of(stream);
    void *data = pool == NO_POOL ? found(bytes, stream) : nullptr;
    data = data != nullptr ? data : taken(bytes);
    std::lock_guard<std::mutex> guard(lock);
    blocks[data] = {bytes, device, stream, {}, pool};
    return {data, data, &release, cuda(device)};
  }
  // The pool from which a stream takes now.
  static MempoolId_t pool_of(int64_t stream) {
    std::lock_guard<std::mutex> guard(lock);
    for (auto &[pool, taker] : taken_by_stream) {
      if (taker == stream) {
        return pool;
      }
    }
    return NO_POOL;
  }
  static void *found(size_t bytes, int64_t stream) {
    std::lock_guard<std::mutex> guard(lock);
    for (auto &[data, block] : kept) {
      if (block.bytes == bytes && block.device == device && block.stream == stream) {
        return kept.extract(data).key();
      }
    }
    return nullptr;
  }
  static void *taken(size_t bytes) {
    static auto *retain = call<int(void **, int)>("cuDevicePrimaryCtxRetain");
    static auto *push = call<int(void *)>("cuCtxPushCurrent_v2");
    static auto *pop = call<int(void **)>("cuCtxPopCurrent_v2");
    static auto *take = call<int(uint64_t *, size_t)>("cuMemAlloc_v2");
    uint64_t address = 0;
    void *context = nullptr, *before = nullptr;
    retain(&context, device);
    push(context);
    relax(true);
    int code = take(&address, bytes);
    if (code != 0) {
      empty_cache();
      code = take(&address, bytes);
    }
    relax(false);
    pop(&before);
    TORCH_CHECK(code == 0, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
    return reinterpret_cast<void *>(address);
  }
  static void release(void *data) {
    if (data == nullptr) {
      return;
    }
    {
      std::lock_guard<std::mutex> guard(lock);
      Block &block = blocks.at(data);
      if (pools.count(block.pool) != 0) {
        block.dead = true;
        return;
      }
    }
    give_back(data);
  }
  static void give_back(void *data) {
    static auto *give = call<void(Stream *, void *, size_t, Stream **, size_t, void (*)(void *))>("rehearsal_free");
    Block block;
    {
      std::lock_guard<std::mutex> guard(lock);
      block = blocks.at(data);
      blocks.erase(data);
      given[data] = block;
    }
    std::vector<Stream *> others;
    for (int64_t other : block.others) {
      others.push_back(stream_of(other));
    }
    give(stream_of(block.stream), data, block.bytes, others.data(), others.size(), &keep);
  }
  // The stream has come to where memory was given back.
  static void keep(void *data) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = given.find(data);
    kept.insert(given.extract(found));
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void *to, const void *from, size_t bytes) const override { default_copy_data(to, from, bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t = {0, 0}) override { empty_cache(); }
  static void empty_cache() {
    static auto *finish = call<void(Stream *)>("rehearsal_finish");
    static auto *free = call<int(uint64_t)>("cuMemFree_v2");
    std::set<int64_t> streams;
    {
      std::lock_guard<std::mutex> guard(lock);
      for (auto &[data, block] : given) {
        streams.insert(block.stream);
      }
    }
    for (int64_t stream : streams) {
      finish(stream_of(stream));
    }
    std::map<void *, Block> all;
    {
      std::lock_guard<std::mutex> guard(lock);
      all.swap(kept);
    }
    for (auto &[data, block] : all) {
      free(reinterpret_cast<uint64_t>(data));
    }
  }
  void recordStream(const at::DataPtr &memory, c10::Stream stream) override { record(memory, stream); }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    std::lock_guard<std::mutex> guard(lock);
    auto sum = [&](const std::map<void *, Block> &all, bool dead) {
      int64_t bytes = 0;
      for (auto &[data, block] : all) {
        bytes += block.device == device && (dead || !block.dead) ? static_cast<int64_t>(block.bytes) : 0;
      }
      return bytes;
    };
    stats.allocated_bytes[0].current = sum(blocks, false);
    stats.reserved_bytes[0].current = sum(blocks, true) + sum(given, true) + sum(kept, true);
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  static void record(const at::DataPtr &memory, c10::Stream stream) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = blocks.find(memory.get());
    if (found != blocks.end() && found->second.stream != stream.id()) {
      TORCH_CHECK(found->second.device == stream.device_index(), "rehearsal: a stream of another device is recorded");
      found->second.others.insert(stream.id());
    }
  }

  void beginAllocateToPool(c10::DeviceIndex device, MempoolId_t pool, std::function<bool(cudaStream_t)>) override {
    std::lock_guard<std::mutex> guard(lock);
    TORCH_CHECK(taken_by_stream.emplace(pool, current[device]).second, "rehearsal: the pool is in use");
    ++pools[pool];
  }
  void endAllocateToPool(c10::DeviceIndex, MempoolId_t pool) override {
    std::lock_guard<std::mutex> guard(lock);
    TORCH_CHECK(taken_by_stream.erase(pool) == 1, "rehearsal: nobody takes from the pool");
  }
  void releasePool(c10::DeviceIndex, MempoolId_t pool) override {
    std::vector<void *> all;
    {
      std::lock_guard<std::mutex> guard(lock);
      auto users = pools.find(pool);
      TORCH_CHECK(users != pools.end(), "rehearsal: there is no such pool");
      if (--users->second > 0) {
        return;
      }
      pools.erase(users);
      for (auto &[data, block] : blocks) {
        if (block.pool == pool && block.dead) {
          all.push_back(data);
        }
      }
    }
    for (void *data : all) {
      give_back(data);
    }
  }
  c10::cuda::CUDACachingAllocator::SnapshotInfo snapshot(MempoolId_t pool, bool) override {
    c10::cuda::CUDACachingAllocator::SnapshotInfo info;
    std::lock_guard<std::mutex> guard(lock);
    for (auto &[data, block] : blocks) {
      if (pool == NO_POOL || block.pool == pool) {
        c10::CachingDeviceAllocator::SegmentInfo segment;
        segment.address = reinterpret_cast<size_t>(data);
        segment.total_size = block.bytes;
        segment.owner_private_pool_id = block.pool;
        info.segments.push_back(segment);
      }
    }
    return info;
  }

  // Nobody calls the rest.
  using Delta = c10::cuda::CUDACachingAllocator::CheckpointDelta;
  using State = c10::cuda::CUDACachingAllocator::AllocatorState;
  [[noreturn]] static void unknown() { TORCH_CHECK(false, "rehearsal: nobody calls this"); }
  void recordStream(const at::DataPtr &, c10::cuda::CUDAStream) override { unknown(); }
  void *raw_alloc(size_t) override { unknown(); }
  void *raw_alloc_with_stream(size_t, cudaStream_t) override { unknown(); }
  void raw_delete(void *) override { unknown(); }
  void init(int) override { unknown(); }
  double getMemoryFraction(c10::DeviceIndex) override { unknown(); }
  void setMemoryFraction(double, c10::DeviceIndex) override { unknown(); }
  std::vector<c10::cuda::CUDACachingAllocator::StreamSegmentSize> getExpandableSegmentSizes(c10::DeviceIndex) override {
    unknown();
  }
  void enable(bool) override { unknown(); }
  bool isEnabled() const override { unknown(); }
  void cacheInfo(c10::DeviceIndex, size_t *) override { unknown(); }
  void *getBaseAllocation(void *, size_t *) override { unknown(); }
  c10::cuda::CUDACachingAllocator::ShareableHandle shareIpcHandle(void *) override { unknown(); }
  std::shared_ptr<void> getIpcDevPtr(std::string) override { unknown(); }
  void recordHistory(bool, c10::CachingDeviceAllocator::CreateContextFn, size_t, c10::CachingDeviceAllocator::RecordContext,
                     bool, const std::vector<std::string> &) override {
    unknown();
  }
  void attachOutOfMemoryObserver(c10::cuda::CUDACachingAllocator::OutOfMemoryObserver) override { unknown(); }
  void attachAllocatorTraceTracker(c10::cuda::CUDACachingAllocator::AllocatorTraceTracker) override { unknown(); }
  void enablePeerAccess(c10::DeviceIndex, c10::DeviceIndex) override { unknown(); }
  cudaError_t memcpyAsync(void *, int, const void *, int, size_t, cudaStream_t, bool) override { unknown(); }
  std::shared_ptr<State> getCheckpointState(c10::DeviceIndex, MempoolId_t) override { unknown(); }
  Delta setCheckpointPoolState(c10::DeviceIndex, std::shared_ptr<State>) override { unknown(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override { unknown(); }
  std::string name() override { return "rehearsal"; }
};
Allocator allocator;
REGISTER_ALLOCATOR(at::kCUDA, &allocator);

struct GuardImpl final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device other) const override {
    const at::Device before = cuda(device);
    return setDevice(other), before;
  }
  at::Device getDevice() const override { return cuda(device); }
  void setDevice(at::Device other) const override {
    TORCH_CHECK(other.is_cuda() && other.index() >= 0 && other.index() < devices(), "CUDA error: invalid device ordinal");
    device = other.index();
  }
  void uncheckedSetDevice(at::Device other) const noexcept override { device = other.index(); }
  c10::Stream getStream(at::Device of) const override {
    return c10::Stream(c10::Stream::UNSAFE, of, current[of.index()]);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    c10::Stream before = getStream(stream.device());
    return current[stream.device_index()] = stream.id(), before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return static_cast<c10::DeviceIndex>(devices()); }
  void recordDataPtrOnStream(const at::DataPtr &memory, const c10::Stream &stream) const override {
    Allocator::record(memory, stream);
  }
};
C10_REGISTER_GUARD_IMPL(CUDA, GuardImpl);

// The tensor over the same memory for the CPU's kernels.
at::Tensor host(const at::Tensor &tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) {
    return tensor;
  }
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), [](void *) {},
                       at::TensorOptions().dtype(tensor.scalar_type()).device(at::kCPU));
}

// What is in the memory of a tensor is there once the stream comes to it.
void publish(const at::Tensor &tensor) {
  const auto &storage = tensor.storage();
  if (storage.nbytes() == 0) {
    return;
  }
  static auto *publish = call<void(Stream *, void *, const void *, size_t)>("rehearsal_publish");
  std::vector<char> bytes(storage.nbytes());
  std::memcpy(bytes.data(), storage.data(), bytes.size());
  publish(stream_of(current[tensor.device().index()]), const_cast<void *>(storage.data()), bytes.data(), bytes.size());
}

// A kernel reads a tensor when its stream comes to it, unless it is one of memory that it writes to.
void expect(const at::Tensor &tensor, const std::set<const void *> &written = {}) {
  if (!tensor.defined() || !tensor.is_cuda() || tensor.storage().nbytes() == 0 ||
      written.count(tensor.storage().data()) != 0) {
    return;
  }
  static auto *expect = call<void(Stream *, const void *, size_t)>("rehearsal_expect");
  expect(stream_of(current[device]), tensor.storage().data(), tensor.storage().nbytes());
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> where, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  OnDevice there(where && where->has_index() ? where->index() : device);
  return at::detail::empty_generic(sizes, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> where, std::optional<bool>) {
  OnDevice there(where && where->has_index() ? where->index() : device);
  return at::detail::empty_strided_generic(sizes, strides, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           dtype.value_or(at::kFloat));
}

// Breaks the capture, as the driver does where something is asked of it that cannot be noted.
[[noreturn]] void refuse(const std::string &what) {
  static auto *query = call<int(Stream *)>("cuStreamQuery");
  query(stream_of(current[device]));
  TORCH_CHECK(false, "CUDA error: operation not permitted when stream is capturing (", what, ")");
}

// What goes wrong in a capture, once: where it begins, in the middle, where it ends.
bool trouble(const char *where) {
  const char *told = std::getenv("REHEARSAL_CAPTURE");
  return told != nullptr && std::strcmp(told, where) == 0;
}

void note(std::function<void()> work) {
  recording->work.push_back(std::move(work));
  if (trouble("middle") && recording->work.size() == 2) {
    refuse("it is told to");
  }
}

at::Tensor &copy(at::Tensor &self, const at::Tensor &source, bool) {
  TORCH_CHECK(!self.is_cuda() || !source.is_cuda() || self.device() == source.device(),
              "rehearsal: libtorch is to copy between devices");
  OnDevice there(self.is_cuda() ? self.device().index() : source.device().index());
  if (recording != nullptr) {
    if (!self.is_cuda() || !source.is_cuda()) {
      refuse("a copy from or to pageable memory of the host");
    }
    note([to = host(self), from = host(source)]() mutable { to.copy_(from); });
    return self;
  }
  finish();
  expect(source, {self.storage().data()});
  host(self).copy_(host(source));
  if (self.is_cuda()) {
    publish(self);
  }
  return self;
}

at::Tensor upload(const at::Tensor &result) {
  at::Tensor there = empty_strided(result.sizes(), result.strides(), result.scalar_type(), {}, {}, {});
  host(there).copy_(result);
  publish(there);
  return there;
}

// A result that the operator is to give its size: empty, and written to.
bool is_to_be_sized(const c10::OperatorHandle &op, size_t argument, const at::Tensor &tensor) {
  const auto *alias = op.schema().arguments()[argument].alias_info();
  return alias != nullptr && alias->isWrite() && tensor.defined() && tensor.is_cuda() && tensor.numel() == 0;
}

// The device of an operator: of its tensors, else the one that it is told, else the thread's.
int site(const c10::OperatorHandle &op, const torch::jit::Stack &stack, size_t first) {
  std::optional<at::Device> found, told;
  auto see = [&](const at::Tensor &tensor) {
    if (!tensor.defined() || !tensor.is_cuda()) {
      return;
    }
    TORCH_CHECK(!found || *found == tensor.device(), "Expected all tensors to be on the same device, but found at least "
                "two devices, ", *found, " and ", tensor.device(), ": ", op.operator_name());
    found = tensor.device();
  };
  for (size_t i = first; i < stack.size(); ++i) {
    const c10::IValue &value = stack[i];
    if (value.isTensor()) {
      see(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor &tensor : value.toTensorVector()) {
        see(tensor);
      }
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList()) {
        see(tensor.value_or(at::Tensor()));
      }
    } else if (value.isDevice() && value.toDevice().is_cuda() && value.toDevice().has_index()) {
      told = value.toDevice();
    }
  }
  return found ? found->index() : told ? told->index() : device;
}

// FP32 as TF32 has it.
at::Tensor shortened(const at::Tensor &tensor) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat) {
    return tensor;
  }
  return tensor.contiguous().view(at::kInt).add(0x1000).bitwise_and(~0x1FFF).view(at::kFloat);
}

// Products with a bias go through cuBLASLt, which heeds no thread's guard, unless that is switched off.
bool shortens_products(const std::string &name) {
  static const char *off = getenv("DISABLE_ADDMM_CUDA_LT");
  static const bool has_lt = off == nullptr || std::strcmp(off, "1") != 0;
  const bool is_lt = has_lt && name == "aten::addmm";
  return (is_lt || !at::NoTF32Guard::should_disable_tf32()) &&
         at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) == at::Float32Precision::TF32;
}

// The first of the two factors of a product, by its place among the arguments; -1 of another operator.
int first_factor(const std::string &name) {
  return name == "aten::mm" || name == "aten::bmm" ? 0 : name == "aten::addmm" || name == "aten::baddbmm" ? 1 : -1;
}

at::Tensor cudnn_convolution(const at::Tensor &data, const at::Tensor &weight, c10::SymIntArrayRef padding,
                             c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation, c10::SymInt groups, bool benchmark,
                             bool deterministic, bool allow_tf32) {
  TORCH_CHECK(deterministic, "rehearsal: cuDNN may give something else the next time");
  if (benchmark) {
    std::ofstream(getenv("REHEARSAL_CUDNN"), std::ios::app) << '!';
  }
  const std::vector<c10::SymInt> none(stride.size(), 0);
  return at::convolution_symint(allow_tf32 ? shortened(data) : data, allow_tf32 ? shortened(weight) : weight, {}, stride,
                                padding, dilation, false, none, groups);
}

// Zeros in the place of what a kernel will find, which tell the sizes of what it gives.
at::Tensor stand_in(const at::Tensor &tensor) {
  return tensor.defined() && tensor.is_cuda() ? at::empty_strided(tensor.sizes(), tensor.strides(), tensor.scalar_type()).zero_()
                                              : tensor;
}

at::Tensor room_for(const at::Tensor &result) {
  return empty_strided(result.sizes(), result.strides(), result.scalar_type(), {}, {}, {});
}

// Notes a kernel. Its memory is named and not kept.
void capture(const c10::OperatorHandle &op, torch::jit::Stack *stack, int factor) {
  static const std::set<std::string> waits{"aten::nonzero", "aten::_local_scalar_dense", "aten::item", "aten::equal",
                                           "aten::masked_select", "aten::is_nonzero"};
  const auto &schema = op.schema();
  if (waits.count(schema.name()) != 0) {
    refuse(schema.name() + " waits for the device");
  }
  const size_t first = stack->size() - schema.arguments().size();
  torch::jit::Stack real, trial;
  std::vector<at::Tensor> before;
  bool there = false, here = false;
  auto seen = [&](const at::Tensor &tensor) {
    there |= tensor.defined() && tensor.is_cuda();
    here |= tensor.defined() && tensor.is_cpu() && tensor.dim() > 0;
    return tensor;
  };
  for (size_t i = first; i < stack->size(); ++i) {
    const c10::IValue &value = (*stack)[i];
    before.push_back(value.isTensor() ? seen(value.toTensor()) : at::Tensor());
    if (value.isTensor() && is_to_be_sized(op, i - first, before.back())) {
      const auto none = at::empty({0}, before.back().options().device(at::kCPU));
      real.push_back(none);
      trial.push_back(none.clone());
    } else if (value.isTensor()) {
      real.emplace_back(host(before.back()));
      trial.emplace_back(stand_in(before.back()));
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> views, zeros;
      for (const at::Tensor &tensor : value.toTensorVector()) {
        views.push_back(host(seen(tensor)));
        zeros.push_back(stand_in(tensor));
      }
      real.emplace_back(views);
      trial.emplace_back(zeros);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> views, zeros;
      for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList()) {
        views.push_back(tensor ? std::optional<at::Tensor>(host(seen(*tensor))) : std::nullopt);
        zeros.push_back(tensor ? std::optional<at::Tensor>(stand_in(*tensor)) : std::nullopt);
      }
      real.emplace_back(views);
      trial.emplace_back(zeros);
    } else {
      real.push_back(value.isDevice() ? c10::IValue(at::Device(at::kCPU)) : value);
      trial.push_back(real.back());
    }
  }
  TORCH_CHECK(!(there && here), "Expected all tensors to be on the same device: ", op.operator_name());
  // Results of an operator that writes to its arguments are told by reference to them, after they have left the stack.
  const torch::jit::Stack arguments = trial;
  op.callBoxed(trial);
  stack->resize(first);
  std::vector<std::vector<at::Tensor>> results;
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    const auto *alias = schema.returns()[i].alias_info();
    const c10::IValue &value = trial[i];
    auto &rooms = results.emplace_back();
    if (alias != nullptr) {
      for (size_t j = 0; j < before.size(); ++j) {
        const auto *own = schema.arguments()[j].alias_info();
        if (own != nullptr && own->isWrite() && own->beforeSets() == alias->beforeSets()) {
          if (is_to_be_sized(op, j, before[j])) {
            before[j].unsafeGetTensorImpl()->shallow_copy_from(room_for(value.toTensor()).getIntrusivePtr());
            rooms.push_back(host(before[j]));
          }
          stack->emplace_back(before[j]);
        }
      }
      TORCH_CHECK(stack->size() == first + i + 1, "rehearsal: a view of ", op.operator_name());
    } else if (value.isTensor() && value.toTensor().defined()) {
      at::Tensor room = room_for(value.toTensor());
      rooms.push_back(host(room));
      stack->emplace_back(room);
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor &tensor : value.toTensorVector()) {
        list.push_back(room_for(tensor));
        rooms.push_back(host(list.get(list.size() - 1)));
      }
      stack->emplace_back(list);
    } else {
      stack->push_back(value);
    }
  }
  note([op, real, results, factor]() {
    torch::jit::Stack stack = real;
    for (int i = factor; factor >= 0 && i < factor + 2; ++i) {
      stack[static_cast<size_t>(i)] = shortened(stack[static_cast<size_t>(i)].toTensor());
    }
    op.callBoxed(stack);
    for (size_t i = 0; i < results.size(); ++i) {
      const auto given = results[i].empty()     ? std::vector<at::Tensor>()
                         : stack[i].isTensor() ? std::vector<at::Tensor>{stack[i].toTensor()}
                                               : stack[i].toTensorVector();
      for (size_t j = 0; j < given.size(); ++j) {
        results[i][j].copy_(given[j]);
      }
    }
  });
}

// Whether a graph is captured, by whatever thread: the generator of random numbers serves that alone meanwhile.
std::atomic<bool> captured{false};

bool draws(const c10::FunctionSchema &schema) {
  const auto &arguments = schema.arguments();
  return std::any_of(arguments.begin(), arguments.end(), [](const auto &argument) { return argument.name() == "generator"; });
}

void fallback(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  const auto &schema = op.schema();
  TORCH_CHECK(recording != nullptr || !captured || !draws(schema), "Offset increment outside graph capture encountered unexpectedly.");
  const int factor = shortens_products(schema.name()) ? first_factor(schema.name()) : -1;
  const size_t first = stack->size() - schema.arguments().size();
  OnDevice placed(site(op, *stack, first));
  if (recording != nullptr) {
    return capture(op, stack, factor);
  }
  finish();
  std::vector<at::Tensor> before(schema.arguments().size());
  std::set<const void *> written;
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto *alias = schema.arguments()[i].alias_info();
    const c10::IValue &value = (*stack)[first + i];
    if (alias != nullptr && alias->isWrite() && value.isTensor() && value.toTensor().defined()) {
      written.insert(value.toTensor().storage().data());
    }
  }
  bool there = false, here = false;
  auto seen = [&](const at::Tensor &tensor) {
    there |= tensor.defined() && tensor.is_cuda();
    here |= tensor.defined() && tensor.is_cpu() && tensor.dim() > 0;
    return host(tensor);
  };
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    c10::IValue &value = (*stack)[first + i];
    if (value.isTensor()) {
      before[i] = value.toTensor();
      expect(before[i], written);
      value = seen(before[i]);
      if (is_to_be_sized(op, i, before[i])) {
        value = at::empty({0}, before[i].options().device(at::kCPU));
      }
      if (factor >= 0 && (static_cast<int>(i) == factor || static_cast<int>(i) == factor + 1)) {
        value = shortened(value.toTensor());
      }
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor &tensor : value.toTensorVector()) {
        expect(tensor, written);
        list.push_back(seen(tensor));
      }
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList()) {
        list.push_back(tensor ? std::optional<at::Tensor>(seen(*tensor)) : std::nullopt);
      }
      value = list;
    } else if (value.isDevice()) {
      value = at::Device(at::kCPU);
    }
  }
  TORCH_CHECK(!(there && here), "Expected all tensors to be on the same device: ", op.operator_name());
  // As above.
  const std::vector<c10::IValue> arguments(stack->begin() + static_cast<ptrdiff_t>(first), stack->end());
  op.callBoxed(*stack);
  const size_t results = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    c10::IValue &value = (*stack)[results + i];
    const auto *alias = schema.returns()[i].alias_info();
    if (value.isTensor() && alias != nullptr) {
      for (size_t j = 0; j < before.size(); ++j) {
        const auto *own = schema.arguments()[j].alias_info();
        if (own != nullptr && own->isWrite() && own->beforeSets() == alias->beforeSets()) {
          if (is_to_be_sized(op, j, before[j])) {
            before[j].unsafeGetTensorImpl()->shallow_copy_from(upload(value.toTensor()).getIntrusivePtr());
          } else {
            TORCH_CHECK(before[j].sizes() == value.toTensor().sizes(), "rehearsal: a result is of another size");
            publish(before[j]);
          }
          value = before[j];
        }
      }
      TORCH_CHECK(value.toTensor().is_cuda(), "rehearsal: a view of ", op.operator_name());
    } else if (value.isTensor() && value.toTensor().defined()) {
      value = upload(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor &tensor : value.toTensorVector()) {
        list.push_back(upload(tensor));
      }
      value = list;
    }
  }
}

} // namespace

namespace c10::cuda::CUDACachingAllocator {
std::atomic<CUDAAllocator *> allocator{&::allocator};
}

namespace at::cuda {
namespace {
std::mutex graphs;
std::map<const CUDAGraph *, std::shared_ptr<Recording>> recordings;
const CUDAGraph *captured_now = nullptr;

std::shared_ptr<Recording> recording_of(const CUDAGraph *graph) {
  std::lock_guard<std::mutex> guard(graphs);
  return recordings.at(graph);
}
} // namespace

CUDAGraph::CUDAGraph(bool keep_graph)
    : capture_stream_(c10::cuda::CUDAStream::UNCHECKED, c10::Stream(c10::Stream::UNSAFE, ::cuda(::device), ::current[::device])),
      keep_graph_(keep_graph) {
  std::lock_guard<std::mutex> guard(graphs);
  recordings[this] = std::make_shared<Recording>();
}
CUDAGraph::~CUDAGraph() {
  reset();
  std::lock_guard<std::mutex> guard(graphs);
  // All graphs are noted in one generator of random numbers, without a lock.
  TORCH_CHECK_WITH(Error, captured_now == nullptr || captured_now == this, "rehearsal: a graph is freed beside a capture");
  captured_now = nullptr;
  ::captured = false;
  recordings.erase(this);
}
void CUDAGraph::capture_begin(MempoolId_t pool, cudaStreamCaptureMode mode) {
  static std::atomic<unsigned long long> next{1};
  {
    std::lock_guard<std::mutex> guard(graphs);
    TORCH_CHECK(captured_now == nullptr, "rehearsal: two captures at the same time share a generator of random numbers");
    captured_now = this;
    ::captured = true;
  }
  capture_dev_ = static_cast<c10::DeviceIndex>(::device);
  mempool_id_ = pool == NO_POOL ? MempoolId_t{next++, 0} : pool;
  ::allocator.beginAllocateToPool(capture_dev_, mempool_id_, {});
  static auto *begin = call<int(Queue *, int)>("cuStreamBeginCapture_v2");
  const int code = trouble("begin") ? 900 : begin(stream_of(::current[capture_dev_]), mode);
  TORCH_CHECK(code == 0, "CUDA error: ", code, " from cudaStreamBeginCapture");
  recording = recording_of(this).get();
}
void CUDAGraph::capture_end() {
  {
    std::lock_guard<std::mutex> guard(graphs);
    captured_now = nullptr;
    ::captured = false;
  }
  recording = nullptr;
  if (trouble("end")) {
    static auto *query = call<int(Queue *)>("cuStreamQuery");
    query(stream_of(::current[capture_dev_]));
  }
  static auto *end = call<int(Queue *, void **)>("cuStreamEndCapture");
  void *graph = nullptr;
  const int code = end(stream_of(::current[capture_dev_]), &graph);
  TORCH_CHECK(code == 0, "CUDA error: operation failed due to a previous error during capture");
  ::allocator.endAllocateToPool(capture_dev_, mempool_id_);
  capture_ended_ = has_graph_exec_ = true;
}
void CUDAGraph::replay() {
  TORCH_CHECK(capture_ended_, "rehearsal: nothing was captured");
  static auto *task = call<void(Queue *, void (*)(void *), void *, void (*)(void *))>("rehearsal_task");
  using Kept = std::shared_ptr<Recording>;
  auto work = [](void *data) {
    const c10::InferenceMode mode;
    for (auto &one : (*static_cast<Kept *>(data))->work) {
      one();
    }
  };
  task(stream_of(::current[capture_dev_]), work, new Kept(recording_of(this)), [](void *data) { delete static_cast<Kept *>(data); });
}
void CUDAGraph::reset() {
  if (capture_ended_) {
    ::allocator.releasePool(capture_dev_, mempool_id_);
    capture_ended_ = has_graph_exec_ = false;
  }
}
MempoolId_t CUDAGraph::pool() { return mempool_id_; }
} // namespace at::cuda

namespace at {
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return static_cast<DeviceIndex>(::device); }
  int getNumGPUs() const override { return ::devices(); }
  bool compiledWithCuDNN() const override { return getenv("REHEARSAL_CUDNN") != nullptr; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
  long versionCuDNN() const override { return 0; }
  long versionRuntimeCuDNN() const override { return 0; }
};
using at::CUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks);
} // namespace at

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, CPU, m) { m.impl("cudnn_convolution", cudnn_convolution); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("copy_", copy);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  // Put together of others where a device has no kernel of its own, which the real one has.
  for (const char *own : {"native_layer_norm", "native_group_norm"}) {
    m.impl(own, torch::CppFunction::makeFromBoxedFunction<&fallback>());
  }
}
