// The border between C++ exceptions and callers that know none.

#pragma once

#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

// Runs `body`; where it throws, returns `failed` and sets `error` to a message from `strdup`.
template <typename Result, typename Body> Result guarded(char **error, Result failed, Body body) noexcept {
  try {
    return body();
  } catch (const c10::Error &e) {
    *error = strdup(e.what_without_backtrace());
  } catch (const std::exception &e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("unknown C++ exception");
  }
  return failed;
}
