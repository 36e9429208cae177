// The CUDA half of libtorch over the rehearsed driver: kernels are those of the CPU, over memory of the device. What a kernel
// computes is there when its stream comes to it and not before; memory that is given back is overwritten in the order of its
// stream and of those that were recorded for it, and then kept for the next of that size. A kernel that is given tensors of
// both sides, or of two devices, refuses them.
//
// Products of FP32 read 10 bits of each mantissa where libtorch would have cuBLAS do so. With REHEARSAL_CUDNN, a file, there is a
// cuDNN for convolutions: it does likewise where it is told to, and for each time that it is to try its algorithms the file
// grows by a byte.
//
// Built by the tests, as libtorch_cuda.so.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

namespace {

struct Stream;

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

struct Block {
  size_t bytes;
  int device;
  int64_t stream;
  std::set<int64_t> others;
};
std::mutex lock;
std::map<void *, Block> blocks; // of tensors
std::map<void *, Block> given;  // back, and not yet by their streams
std::map<void *, Block> kept;   // for the next tensors of their streams

struct Allocator final : c10::DeviceAllocator {
  at::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, cuda(device)};
    }
    const int64_t stream = current[device];
    (void)stream_of(stream);
    void *data = found(bytes, stream);
    data = data != nullptr ? data : taken(bytes);
    std::lock_guard<std::mutex> guard(lock);
    blocks[data] = {bytes, device, stream, {}};
    return {data, data, &release, cuda(device)};
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
    int code = take(&address, bytes);
    if (code != 0) {
      empty_cache();
      code = take(&address, bytes);
    }
    pop(&before);
    TORCH_CHECK(code == 0, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
    return reinterpret_cast<void *>(address);
  }
  static void release(void *data) {
    if (data == nullptr) {
      return;
    }
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
    auto sum = [&](const std::map<void *, Block> &all) {
      int64_t bytes = 0;
      for (auto &[data, block] : all) {
        bytes += block.device == device ? static_cast<int64_t>(block.bytes) : 0;
      }
      return bytes;
    };
    stats.allocated_bytes[0].current = sum(blocks);
    stats.reserved_bytes[0].current = sum(blocks) + sum(given) + sum(kept);
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

at::Tensor &copy(at::Tensor &self, const at::Tensor &source, bool) {
  TORCH_CHECK(!self.is_cuda() || !source.is_cuda() || self.device() == source.device(),
              "rehearsal: libtorch is to copy between devices");
  OnDevice there(self.is_cuda() ? self.device().index() : source.device().index());
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

// FP32 as TF32 has it.
at::Tensor shortened(const at::Tensor &tensor) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat) {
    return tensor;
  }
  return tensor.contiguous().view(at::kInt).add(0x1000).bitwise_and(~0x1FFF).view(at::kFloat);
}

bool shortens_products() {
  return !at::NoTF32Guard::should_disable_tf32() &&
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

void fallback(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  const auto &schema = op.schema();
  const int factor = shortens_products() ? first_factor(schema.name()) : -1;
  const size_t first = stack->size() - schema.arguments().size();
  OnDevice placed(site(op, *stack, first));
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
      const auto *alias = schema.arguments()[i].alias_info();
      if (alias != nullptr && alias->isWrite() && before[i].defined() && before[i].numel() == 0) {
        // It may be given the size of the result.
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
  // Results of an operator that writes to its arguments are told by reference to them, after they have left the stack.
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
          if (before[j].numel() == 0 && value.toTensor().numel() > 0) {
            const at::Tensor made = upload(value.toTensor());
            before[j].unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
            before[j].unsafeGetTensorImpl()->set_sizes_and_strides(made.sizes(), made.strides());
          }
          TORCH_CHECK(before[j].sizes() == value.toTensor().sizes(), "rehearsal: a result is of another size");
          publish(before[j]);
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

namespace at {
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool compiledWithCuDNN() const override { return getenv("REHEARSAL_CUDNN") != nullptr; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
  long versionCuDNN() const override { return 0; }
  long versionRuntimeCuDNN() const override { return 0; }
  DeviceIndex current_device() const override { return static_cast<DeviceIndex>(::device); }
  int getNumGPUs() const override { return ::devices(); }
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
}
