// What the engine needs of libtorch and the `tch` crate does not offer. No exception leaves this file: a function
// that can fail returns null or false and sets `error` to a message that the caller frees with `free`.

#include "guarded.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>
#include <torch/headeronly/version.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>

namespace torch::jit {
// Exported by libtorch_cpu; its own header is one of the Python bindings.
TORCH_API void setGraphExecutorOptimize(bool enabled);
} // namespace torch::jit

namespace {

// Memory of libtorch's CPU tensors: plain `malloc`, aligned by hand. glibc's `posix_memalign` asks for more than it
// keeps and gives the rest back; a small allocation settles there, and the hole that the tensor leaves is too small for
// the next tensor of that size. So the heap would grow with every block a tensor passes through.
//
// A thread may have somebody else lend memory instead (`blockflow_lend`). Whoever frees memory knows its address and nothing
// else (so does oneDNN), hence the table of what is lent.
struct Lender {
  void *context = nullptr;
  void *(*lend)(void *context, size_t bytes, void **owner) = nullptr;
  void (*release)(void *owner) = nullptr;
};
thread_local Lender lender;

class Lent {
public:
  struct Owner {
    void *owner = nullptr;
    void (*release)(void *) = nullptr;
  };

  // Never destroyed: threads may free memory while the process ends.
  static Lent &all() {
    static Lent *all = new Lent;
    return *all;
  }

  void add(void *data, Owner owner) {
    std::lock_guard<std::mutex> guard(lock_);
    owners_.emplace(data, owner);
    count_.store(owners_.size(), std::memory_order_relaxed);
  }

  Owner find(void *data, bool take) {
    // Whoever holds memory that is lent has seen the count since.
    if (count_.load(std::memory_order_relaxed) == 0) {
      return {};
    }
    std::lock_guard<std::mutex> guard(lock_);
    auto found = owners_.find(data);
    if (found == owners_.end()) {
      return {};
    }
    Owner owner = found->second;
    if (take) {
      owners_.erase(found);
      count_.store(owners_.size(), std::memory_order_relaxed);
    }
    return owner;
  }

private:
  std::mutex lock_;
  std::unordered_map<void *, Owner> owners_;
  std::atomic<size_t> count_{0};
};

class Allocator final : public c10::Allocator {
public:
  at::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, at::Device(at::kCPU)};
    }
    if (lender.lend != nullptr) {
      void *owner = nullptr;
      if (void *data = lender.lend(lender.context, bytes, &owner)) {
        Lent::all().add(data, {owner, lender.release});
        return {data, data, &release, at::Device(at::kCPU)};
      }
    }
    TORCH_CHECK(bytes <= SIZE_MAX - kAlignment - kAlignment, "cannot allocate ", bytes, " bytes");
    void *base = std::malloc(bytes + kAlignment + sizeof(void *));
    TORCH_CHECK(base != nullptr, "out of memory: cannot allocate ", bytes, " bytes");
    auto first = reinterpret_cast<uintptr_t>(base) + sizeof(void *) + kAlignment - 1;
    void *data = reinterpret_cast<void *>(first & ~(uintptr_t{kAlignment} - 1));
    static_cast<void **>(data)[-1] = base;
    return {data, data, &release, at::Device(at::kCPU)};
  }

  at::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void *to, const void *from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  static void release(void *data) {
    if (data == nullptr) {
      return;
    }
    if (Lent::Owner lent = Lent::all().find(data, /*take=*/true); lent.release != nullptr) {
      lent.release(lent.owner);
    } else {
      std::free(static_cast<void **>(data)[-1]);
    }
  }

private:
  static constexpr size_t kAlignment = 64;
};

} // namespace

extern "C" {

// A CPU tensor over memory of `owner`, row-major where `strides` is null, which is consumed in any case: `release(owner)`
// runs once, on any thread.
at::Tensor *blockflow_view(void *data, const int64_t *sizes, const int64_t *strides, size_t rank, int8_t scalar_type,
                           void *owner, void (*release)(void *), char **error) noexcept {
  return guarded<at::Tensor *>(error, nullptr, [&] {
    auto maker = at::for_blob(data, at::IntArrayRef(sizes, rank));
    maker.context(owner, release);
    if (strides != nullptr) {
      maker.strides(at::IntArrayRef(strides, rank));
    }
    maker.options(at::TensorOptions().dtype(static_cast<at::ScalarType>(scalar_type)).device(at::kCPU));
    return new at::Tensor(maker.make_tensor());
  });
}

// The first element of a dense CPU tensor in memory, and the size of all of them in bytes.
bool blockflow_data(const at::Tensor *tensor, const void **data, size_t *bytes, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    TORCH_CHECK(tensor->defined(), "tensor is undefined");
    TORCH_CHECK(tensor->device().is_cpu(), "tensor is on ", tensor->device().str(), ", not on the CPU");
    TORCH_CHECK(tensor->layout() == at::kStrided && tensor->is_non_overlapping_and_dense(), "tensor is not dense");
    *data = tensor->const_data_ptr();
    *bytes = tensor->nbytes();
    return true;
  });
}

// Whether nobody else can see this tensor's memory: one handle, one storage, and not a view of foreign memory that
// `release` gives back.
bool blockflow_sole_owner(const at::Tensor *tensor, void (*release)(void *)) noexcept {
  try {
    return tensor->defined() && tensor->use_count() == 1 && tensor->has_storage() &&
           tensor->storage().use_count() == 1 && tensor->storage().data_ptr().get_deleter() != release &&
           tensor->is_non_overlapping_and_dense();
  } catch (...) {
    return false;
  }
}

// Whether a dense tensor has its channels innermost in memory, and not also in the order of its dimensions.
bool blockflow_is_channels_last(const at::Tensor *tensor) noexcept {
  try {
    return tensor->defined() && tensor->layout() == at::kStrided && !tensor->is_contiguous() &&
           (tensor->is_contiguous(at::MemoryFormat::ChannelsLast) ||
            tensor->is_contiguous(at::MemoryFormat::ChannelsLast3d));
  } catch (...) {
    return false;
  }
}

// Has `lend(context, bytes, &owner)` asked first for memory of this thread's tensors, where it is not null; what it returns
// lives until `release(owner)` is called, once, on any thread.
void blockflow_lend(void *context, void *(*lend)(void *, size_t, void **), void (*release)(void *)) noexcept {
  lender = {context, lend, release};
}

// The owner of a dense tensor's memory if it was lent and the tensor is all of it; else null. A view that somebody else made
// of the same memory is none: it does not keep the owner.
void *blockflow_lent(const at::Tensor *tensor) noexcept {
  try {
    if (!tensor->defined() || !tensor->has_storage() || !tensor->is_non_overlapping_and_dense()) {
      return nullptr;
    }
    void *data = const_cast<void *>(tensor->storage().data());
    bool all = tensor->const_data_ptr() == data && tensor->nbytes() == tensor->storage().nbytes() &&
               tensor->storage().data_ptr().get_deleter() == &Allocator::release;
    return all ? Lent::all().find(data, /*take=*/false).owner : nullptr;
  } catch (...) {
    return nullptr;
  }
}

// For the start of the process, before the first tensor.
void blockflow_set_allocator() noexcept {
  static Allocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/UINT8_MAX);
}

c10::InferenceMode *blockflow_inference_enter() noexcept { return new (std::nothrow) c10::InferenceMode(true); }

void blockflow_inference_leave(c10::InferenceMode *mode) noexcept { delete mode; }

// Asking first makes the thread's own lazy initialisation happen before, not after, the number is set.
bool blockflow_set_threads(int threads, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    (void)at::get_num_threads();
    at::set_num_threads(threads);
    return true;
  });
}

int blockflow_threads() noexcept {
  try {
    return at::get_num_threads();
  } catch (...) {
    return 0;
  }
}

// The version and the instructions of the processor in use; the caller frees it with `free`.
char *blockflow_version() noexcept {
  try {
    return strdup((std::string(TORCH_VERSION " ") + at::get_cpu_capability()).c_str());
  } catch (...) {
    return nullptr;
  }
}

// Per thread. Off: one plan for all runs, in place of profiling the first and specialising the later ones.
void blockflow_set_jit_optimize(bool enabled) noexcept { torch::jit::setGraphExecutorOptimize(enabled); }

} // extern "C"
