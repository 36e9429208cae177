// libtorch on CUDA devices, through what it offers for devices of any kind: the headers of CUDA are not needed, and where
// libtorch's CUDA half is not loaded every function fails with a message. No exception leaves this file.

#include "guarded.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/ops/_convolution.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/env.h>

#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <new>
#include <optional>

namespace {

// How the thread's run is to compute.
struct ThreadNumbers {
  bool shortened = false;
  bool tried = false;
};
thread_local ThreadNumbers numbers_of_thread;

at::Device cuda(int device) { return {at::kCUDA, static_cast<c10::DeviceIndex>(device)}; }

// What `at::cuda::getStreamFromExternal` makes of a stream of the driver: its address is its id.
c10::Stream stream_of(int device, uintptr_t address) {
  return c10::Stream(c10::Stream::UNSAFE, cuda(device), static_cast<c10::StreamId>(address));
}

} // namespace

struct Numbers {
  Numbers(bool shortened, bool tried) : before(numbers_of_thread) {
    numbers_of_thread = {shortened, tried};
    if (!shortened) {
      whole.emplace();
    }
  }
  ~Numbers() { numbers_of_thread = before; }
  Numbers(const Numbers &) = delete;
  Numbers &operator=(const Numbers &) = delete;

  ThreadNumbers before;
  std::optional<at::NoTF32Guard> whole;
};

extern "C" {

// The file that libtorch's CPU half was loaded from; the caller frees it with `free`. Null where the system does not tell.
char *blockflow_libtorch_file() noexcept {
  Dl_info info{};
  void *known = reinterpret_cast<void *>(&at::globalContext);
  return dladdr(known, &info) != 0 && info.dli_fname != nullptr ? strdup(info.dli_fname) : nullptr;
}

// Whether the CUDA half is there and finds a device. Asking settles it for the process.
bool blockflow_has_cuda() noexcept {
  try {
    return at::Context::hasCUDA();
  } catch (...) {
    return false;
  }
}

// Initialises libtorch's side of CUDA, and has it round alike wherever a model is cut: no choice of kernels by time, none
// that differ from run to run, no shortened mantissas.
//
// These settings are the process's, and blocks differ. So convolutions are told with each call (`blockflow_convolution`).
// Products cannot be: once a run wants it (`blockflow_numbers_enter`) they may shorten mantissas, but in threads that forbid it,
// which are all others in which a run is. cuBLASLt, which products with a bias would go through, knows the process's setting
// alone, and is not used.
bool blockflow_cuda_begin(char **error) noexcept {
  return guarded<bool>(error, false, [] {
    // Read once, by the first such product.
    c10::utils::set_env("DISABLE_ADDMM_CUDA_LT", "1");
    auto &context = at::globalContext();
    context.lazyInitDevice(at::kCUDA);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
    // Sums of 16-bit products are FP32 until they are whole.
    context.setAllowFP16ReductionCuBLAS(false);
    context.setAllowBF16ReductionCuBLAS(false);
    // Where algorithms are tried, libtorch would give back what its allocator keeps, for which it waits for the device.
    at::native::_cudnn_set_conv_benchmark_empty_cache(false);
    return true;
  });
}

// Has the thread compute in FP32 whole, or with shortened mantissas, and choose algorithms of convolutions by time or not, until
// what is returned is given to `blockflow_numbers_leave`. Null: there is no memory.
Numbers *blockflow_numbers_enter(bool shortened, bool tried) noexcept {
  if (shortened) {
    static std::once_flag once;
    std::call_once(once, [] { at::globalContext().setAllowTF32CuBLAS(true); });
  }
  return new (std::nothrow) Numbers(shortened, tried);
}

void blockflow_numbers_leave(Numbers *numbers) noexcept { delete numbers; }

// A convolution as the thread's numbers have it; `bias` may be null, the lists have `rank` elements.
at::Tensor *blockflow_convolution(const at::Tensor *data, const at::Tensor *weight, const at::Tensor *bias,
                                  const int64_t *stride, const int64_t *padding, const int64_t *dilation,
                                  bool transposed, const int64_t *output_padding, size_t rank, int64_t groups,
                                  char **error) noexcept {
  return guarded<at::Tensor *>(error, nullptr, [&] {
    const auto list = [rank](const int64_t *sizes) { return at::IntArrayRef(sizes, rank); };
    const auto added = bias == nullptr ? std::nullopt : std::optional<at::Tensor>(*bias);
    const auto &context = at::globalContext();
    return new at::Tensor(at::_convolution(*data, *weight, added, list(stride), list(padding), list(dilation), transposed,
                                           list(output_padding), groups, numbers_of_thread.tried,
                                           context.deterministicCuDNN(), context.userEnabledCuDNN(),
                                           numbers_of_thread.shortened));
  });
}

// Makes a device and a stream of it those of the thread. Sets what they were, to be given to `blockflow_stream_leave`.
bool blockflow_stream_enter(int device, uintptr_t address, int *device_before, int64_t *stream_before,
                            char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    *device_before = guard.exchangeDevice(cuda(device)).index();
    try {
      *stream_before = guard.exchangeStream(stream_of(device, address)).id();
    } catch (...) {
      guard.uncheckedSetDevice(cuda(*device_before));
      throw;
    }
    return true;
  });
}

void blockflow_stream_leave(int device, int device_before, int64_t stream_before) noexcept {
  try {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    guard.exchangeStream(c10::Stream(c10::Stream::UNSAFE, cuda(device), stream_before));
    guard.uncheckedSetDevice(cuda(device_before));
  } catch (...) {
    // The device is lost: the next call says so.
  }
}

// Has the allocator not give the tensor's memory to others before what the stream has been given by the time the tensor is
// freed is done.
bool blockflow_record_stream(const at::Tensor *tensor, int device, uintptr_t address, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    guard.recordDataPtrOnStream(tensor->storage().data_ptr(), stream_of(device, address));
    return true;
  });
}

// A row-major tensor on a CUDA device whose elements are whatever was there before.
at::Tensor *blockflow_cuda_empty(int device, const int64_t *sizes, size_t rank, int8_t scalar_type,
                                 char **error) noexcept {
  return guarded<at::Tensor *>(error, nullptr, [&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(scalar_type)).device(cuda(device));
    return new at::Tensor(at::empty(at::IntArrayRef(sizes, rank), options));
  });
}

// The tensor on the device of another one; itself where it is there. From pageable memory of the host the copy is made in the
// thread's stream, and the memory may be changed afterwards.
at::Tensor *blockflow_beside(const at::Tensor *tensor, const at::Tensor *other, char **error) noexcept {
  return guarded<at::Tensor *>(error, nullptr, [&] {
    if (tensor->device() == other->device()) {
      return new at::Tensor(*tensor);
    }
    return new at::Tensor(tensor->to(tensor->options().device(other->device()), /*non_blocking=*/true));
  });
}

bool blockflow_is_on_host(const at::Tensor *tensor) noexcept { return tensor->defined() && tensor->is_cpu(); }

// The first element of a row-major CUDA tensor, the size of all of them in bytes, and the device.
bool blockflow_cuda_data(const at::Tensor *tensor, uint64_t *address, size_t *bytes, int *device,
                         char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    TORCH_CHECK(tensor->defined() && tensor->is_cuda(), "tensor is on no CUDA device");
    TORCH_CHECK(tensor->layout() == at::kStrided && tensor->is_contiguous(), "tensor is not row-major");
    *address = reinterpret_cast<uintptr_t>(tensor->const_data_ptr());
    *bytes = tensor->nbytes();
    *device = tensor->device().index();
    return true;
  });
}

// Bytes that tensors have of a device, and that the allocator has taken of it.
bool blockflow_cuda_memory(int device, int64_t *used, int64_t *taken, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    auto *allocator = c10::getDeviceAllocator(at::kCUDA);
    TORCH_CHECK(allocator->initialized(), "libtorch's CUDA half is not initialised");
    auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *used = stats.allocated_bytes[all].current;
    *taken = stats.reserved_bytes[all].current;
    return true;
  });
}

// Gives what no tensor uses back to all devices. Waits for them: not for the data path.
bool blockflow_cuda_give_back(char **error) noexcept {
  return guarded<bool>(error, false, [] {
    auto *allocator = c10::getDeviceAllocator(at::kCUDA);
    if (allocator->initialized()) {
      allocator->emptyCache();
    }
    return true;
  });
}

} // extern "C"
