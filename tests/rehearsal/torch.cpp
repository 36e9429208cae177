// The CUDA half of libtorch over the rehearsed driver: kernels are those of the CPU, over memory of the device. What a kernel
// computes is there when its stream comes to it and not before; memory that is given back is overwritten in the order of its
// stream and of those that were recorded for it. A kernel that is given tensors of both sides refuses them.
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

const at::Device kDevice(at::kCUDA, 0);
thread_local int64_t current = 0;

Stream *stream_of(int64_t id) {
  TORCH_CHECK(id != 0, "rehearsal: work is given to the default stream");
  return reinterpret_cast<Stream *>(id);
}

void finish() {
  static auto *finish = call<void(Stream *)>("rehearsal_finish");
  finish(stream_of(current));
}

struct Block {
  size_t bytes;
  int64_t stream;
  std::set<int64_t> others;
};
std::mutex lock;
std::map<void *, Block> blocks;

struct Allocator final : c10::DeviceAllocator {
  at::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, kDevice};
    }
    static auto *push = call<int(void *)>("cuCtxPushCurrent_v2");
    static auto *pop = call<int(void **)>("cuCtxPopCurrent_v2");
    static auto *take = call<int(uint64_t *, size_t)>("cuMemAlloc_v2");
    uint64_t address = 0;
    void *before = nullptr;
    push(&address);
    int code = take(&address, bytes);
    pop(&before);
    TORCH_CHECK(code == 0, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
    auto *data = reinterpret_cast<void *>(address);
    std::lock_guard<std::mutex> guard(lock);
    (void)stream_of(current);
    blocks[data] = {bytes, current, {}};
    return {data, data, &release, kDevice};
  }
  static void release(void *data) {
    if (data == nullptr) {
      return;
    }
    std::lock_guard<std::mutex> guard(lock);
    auto found = blocks.find(data);
    std::vector<Stream *> others;
    for (int64_t other : found->second.others) {
      others.push_back(stream_of(other));
    }
    static auto *give = call<void(Stream *, void *, size_t, Stream **, size_t)>("rehearsal_free");
    give(stream_of(found->second.stream), data, found->second.bytes, others.data(), others.size());
    blocks.erase(found);
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void *to, const void *from, size_t bytes) const override { default_copy_data(to, from, bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t = {0, 0}) override {}
  void recordStream(const at::DataPtr &memory, c10::Stream stream) override { record(memory, stream); }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    std::lock_guard<std::mutex> guard(lock);
    for (auto &[data, block] : blocks) {
      stats.allocated_bytes[0].current += static_cast<int64_t>(block.bytes);
      stats.reserved_bytes[0].current += static_cast<int64_t>(block.bytes);
    }
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  static void record(const at::DataPtr &memory, c10::Stream stream) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = blocks.find(memory.get());
    if (found != blocks.end() && found->second.stream != stream.id()) {
      found->second.others.insert(stream.id());
    }
  }
};
Allocator allocator;
REGISTER_ALLOCATOR(at::kCUDA, &allocator);

struct GuardImpl final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device) const override { return kDevice; }
  at::Device getDevice() const override { return kDevice; }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device) const override { return c10::Stream(c10::Stream::UNSAFE, kDevice, current); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    c10::Stream before = getStream(kDevice);
    return current = stream.id(), before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
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
  publish(stream_of(current), const_cast<void *>(storage.data()), bytes.data(), bytes.size());
}

// A kernel reads a tensor when its stream comes to it, unless it is one of memory that it writes to.
void expect(const at::Tensor &tensor, const std::set<const void *> &written = {}) {
  if (!tensor.defined() || !tensor.is_cuda() || tensor.storage().nbytes() == 0 ||
      written.count(tensor.storage().data()) != 0) {
    return;
  }
  static auto *expect = call<void(Stream *, const void *, size_t)>("rehearsal_expect");
  expect(stream_of(current), tensor.storage().data(), tensor.storage().nbytes());
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           dtype.value_or(at::kFloat));
}

at::Tensor &copy(at::Tensor &self, const at::Tensor &source, bool) {
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

void fallback(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  const auto &schema = op.schema();
  const int factor = shortens_products() ? first_factor(schema.name()) : -1;
  const size_t first = stack->size() - schema.arguments().size();
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
  DeviceIndex current_device() const override { return 0; }
  int getNumGPUs() const override { return 1; }
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
}
