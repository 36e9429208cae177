// CUDA graphs of libtorch's CUDA half, in a library of its own that is loaded once that half is: nothing here is in a libtorch
// for the CPU. Needs the headers of the CUDA runtime, and none of its libraries. No exception leaves this file.
//
// Graphs are made, captured and freed by one thread of the process at a time: libtorch notes all of them in one generator of
// random numbers, without a lock.

#include "guarded.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <torch/version.h>

#include <cstdint>

namespace {

// What one declared shape has the device do.
struct Graph final : at::cuda::CUDAGraph {
  Graph() : at::cuda::CUDAGraph(/*keep_graph=*/false) {}

  // Leaves a capture that failed as if it had never begun: an end that fails leaves the allocator where it was.
  void abandon() noexcept {
    for (auto &[state, increment] : captured_generator_states_) {
      state->capturing_ = false;
    }
    if (capture_ended_ || capture_dev_ == UNDEFINED_DEVICE) {
      return; // its end, or its destructor, does it
    }
    try {
      c10::cuda::CUDACachingAllocator::get()->endAllocateToPool(capture_dev_, mempool_id_);
    } catch (...) {
      // It had come that far.
    }
    try {
      c10::cuda::CUDACachingAllocator::get()->releasePool(capture_dev_, mempool_id_);
    } catch (...) {
      // There was no pool yet.
    }
    // Likewise that of pinned memory, which would ask this graph what is captured when it is no more.
    try {
      if (auto *pinned = at::getHostAllocator(at::kCUDA); pinned != nullptr) {
        pinned->end_allocate_to_pool(mempool_id_);
      }
    } catch (...) {
      // It had come that far.
    }
    try {
      if (auto *pinned = at::getHostAllocator(at::kCUDA); pinned != nullptr) {
        pinned->release_pool(mempool_id_);
      }
    } catch (...) {
      // There was no pool yet.
    }
    (void)cudaGetLastError();
  }
};

} // namespace

extern "C" {

// The version of libtorch that this was built for; static.
const char *blockflow_graphs_version() noexcept { return TORCH_VERSION; }

Graph *blockflow_graph_new(char **error) noexcept {
  return guarded<Graph *>(error, nullptr, [] { return new Graph; });
}

// Has what the thread launches in its current stream be noted and not done, and memory that it takes be the graph's, or that of
// another one which the thread never replays at the same time. May fail with nothing begun.
bool blockflow_graph_begin(Graph *graph, Graph *beside, char **error) noexcept {
  const bool begun = guarded<bool>(error, false, [&] {
    graph->capture_begin(beside == nullptr ? c10::MempoolId_t{0, 0} : beside->pool(), cudaStreamCaptureModeThreadLocal);
    return true;
  });
  if (!begun) {
    graph->abandon();
  }
  return begun;
}

// Ends the capture. Where it failed, all is as before it; the graph can only be freed then.
bool blockflow_graph_end(Graph *graph, char **error) noexcept {
  const bool ended = guarded<bool>(error, false, [&] {
    graph->capture_end();
    return true;
  });
  if (!ended) {
    graph->abandon();
  }
  return ended;
}

// Puts what was captured into the thread's current stream.
bool blockflow_graph_replay(Graph *graph, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    graph->replay();
    return true;
  });
}

// Bytes that the graph's memory, and that of graphs beside it, takes of the device.
bool blockflow_graph_memory(Graph *graph, uint64_t *bytes, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    const auto pool = graph->pool();
    *bytes = 0;
    for (const auto &segment : c10::cuda::CUDACachingAllocator::get()->snapshot(pool, /*include_traces=*/false).segments) {
      if (segment.owner_private_pool_id == pool) {
        *bytes += segment.total_size;
      }
    }
    return true;
  });
}

// What was replayed and is not done yet is done all the same.
void blockflow_graph_free(Graph *graph) noexcept {
  try {
    delete graph;
  } catch (...) {
    // The device is lost.
  }
}

} // extern "C"
