// Calls of operators by name, through the dispatcher. A call is a stack with all constant arguments in place and holes
// for the tensors of a run. No exception leaves this file: a function that can fail returns null or false and sets
// `error` to a message that the caller frees with `free`.

#include "guarded.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/alias_info.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace {

// What `Value::kind` says; the same numbers stand in `boxed.rs`.
enum Kind : int32_t { None, Tensor, Int, Float, Bool, Text, CpuDevice, List, Hole, WrittenHole };

} // namespace

extern "C" {

// An argument. `integer` holds an integer, a truth value, or the number of the input that fills a hole; numbers of
// dtypes, layouts and memory formats are integers, as in schemas.
struct blockflow_value {
  int32_t kind;
  int64_t integer;
  double real;
  const at::Tensor *tensor;
  const char *text;
  size_t length; // of `text` or `items`
  const blockflow_value *items;
};

// A result: `Tensor`, `Int`, `Float`, `Bool`, `None`, or `List`, which as many tensors follow as `integer` says.
struct blockflow_result {
  int32_t kind;
  int64_t integer;
  double real;
  at::Tensor *tensor; // the caller's to free
};

struct blockflow_call;

} // extern "C"

namespace {

// Where an input goes: an argument, or an item of an argument that is a list of tensors.
struct Filler {
  size_t argument;
  int64_t item; // -1: the argument itself
  size_t input;
};

} // namespace

struct blockflow_call {
  explicit blockflow_call(c10::OperatorHandle operator_) : op(std::move(operator_)) {}

  c10::OperatorHandle op;
  std::vector<c10::IValue> arguments;
  std::vector<bool> given;
  std::vector<Filler> fillers;
  bool has_written = false;
  size_t written = 0; // the argument that the operator writes to
};

namespace {

bool takes_tensors(const c10::TypePtr &type) {
  return c10::TensorType::get()->isSubtypeOf(*type);
}

c10::TypePtr without_optional(c10::TypePtr type) {
  if (auto optional = type->cast<c10::OptionalType>()) {
    return optional->getElementType();
  }
  return type;
}

c10::IValue to_ivalue(const blockflow_value &value, const c10::TypePtr &type) {
  switch (value.kind) {
  case None:
    return {};
  case Tensor:
    TORCH_CHECK(value.tensor != nullptr, "a tensor is missing");
    return *value.tensor;
  case Int:
    // A schema that asks for a float is given one.
    if (type->kind() == c10::TypeKind::FloatType) {
      return static_cast<double>(value.integer);
    }
    return value.integer;
  case Float:
    return value.real;
  case Bool:
    return value.integer != 0;
  case Text:
    TORCH_CHECK(value.text != nullptr, "a text is missing");
    return std::string(value.text, value.length);
  case CpuDevice:
    return c10::Device(c10::kCPU);
  case List: {
    auto list_type = type->cast<c10::ListType>();
    TORCH_CHECK(list_type, "expected ", type->repr_str(), ", got a list");
    TORCH_CHECK(value.items != nullptr || value.length == 0, "items of a list are missing");
    auto element = list_type->getElementType();
    auto inner = without_optional(element);
    c10::impl::GenericList list(element);
    list.reserve(value.length);
    for (size_t index = 0; index < value.length; ++index) {
      const auto &item = value.items[index];
      // The place of a hole is kept by a tensor that is not there.
      auto filled = item.kind == Hole ? c10::IValue(at::Tensor()) : to_ivalue(item, inner);
      TORCH_CHECK(item.kind == Hole ? takes_tensors(element) : filled.type()->isSubtypeOf(*element), "item ", index,
                  " of the list is not ", element->repr_str());
      list.push_back(std::move(filled));
    }
    return list;
  }
  default:
    TORCH_CHECK(false, "an argument is of an unknown kind, ", value.kind);
  }
}

bool is_written(const c10::Argument &argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

void set(blockflow_call &call, size_t place, const blockflow_value &value) {
  const auto &schema = call.op.schema();
  TORCH_CHECK(place < schema.arguments().size(), "has ", schema.arguments().size(), " arguments, not ", place + 1);
  const auto &argument = schema.arguments()[place];
  TORCH_CHECK(!call.given[place], "argument ", argument.name(), " is given twice");
  const bool is_hole = value.kind == Hole || value.kind == WrittenHole;
  TORCH_CHECK(is_written(argument) == (value.kind == WrittenHole), "argument ", argument.name(),
              is_written(argument) ? " is written to" : " is only read");
  if (is_hole) {
    TORCH_CHECK(takes_tensors(argument.type()), "argument ", argument.name(), " is ", argument.type()->repr_str(),
                ", not a tensor");
    TORCH_CHECK(value.integer >= 0, "an input has a negative number");
    if (value.kind == WrittenHole) {
      TORCH_CHECK(!call.has_written, "writes to more than one argument");
      call.has_written = true;
      call.written = place;
    } else {
      call.fillers.push_back({place, -1, static_cast<size_t>(value.integer)});
    }
  } else {
    auto constant = to_ivalue(value, without_optional(argument.type()));
    TORCH_CHECK(constant.type()->isSubtypeOf(*argument.type()), "argument ", argument.name(), " is ",
                argument.type()->repr_str(), ", not ", constant.type()->repr_str());
    call.arguments[place] = std::move(constant);
    if (value.kind == List) {
      for (size_t item = 0; item < value.length; ++item) {
        if (value.items[item].kind == Hole) {
          TORCH_CHECK(value.items[item].integer >= 0, "an input has a negative number");
          call.fillers.push_back(
              {place, static_cast<int64_t>(item), static_cast<size_t>(value.items[item].integer)});
        }
      }
    }
  }
  call.given[place] = true;
}

// A list with holes is copied for each run, since its items change.
std::vector<c10::IValue> stack_of(const blockflow_call &call, const at::Tensor *const *inputs, size_t count) {
  std::vector<c10::IValue> stack;
  stack.reserve(std::max(call.arguments.size(), call.op.schema().returns().size()));
  stack.assign(call.arguments.begin(), call.arguments.end());
  size_t copied = SIZE_MAX;
  for (const auto &filler : call.fillers) {
    TORCH_CHECK(filler.input < count, "input ", filler.input, " is missing");
    const at::Tensor *input = inputs[filler.input];
    auto &argument = stack[filler.argument];
    if (filler.item < 0) {
      argument = input == nullptr ? c10::IValue() : c10::IValue(*input);
      continue;
    }
    if (copied != filler.argument) {
      argument = argument.toList().copy();
      copied = filler.argument;
    }
    argument.toList().set(static_cast<size_t>(filler.item), input == nullptr ? c10::IValue() : c10::IValue(*input));
  }
  return stack;
}

using Emit = void (*)(void *, const blockflow_result *);

void emit_tensor(const at::Tensor &tensor, void *to, Emit emit) {
  if (!tensor.defined()) {
    blockflow_result nothing{None, 0, 0.0, nullptr};
    emit(to, &nothing);
    return;
  }
  blockflow_result result{Tensor, 0, 0.0, new at::Tensor(tensor)};
  emit(to, &result);
}

void emit_value(const c10::IValue &value, void *to, Emit emit) {
  blockflow_result result{None, 0, 0.0, nullptr};
  if (value.isTensor()) {
    emit_tensor(value.toTensor(), to, emit);
    return;
  }
  if (value.isTensorList()) {
    auto tensors = value.toTensorVector();
    result.kind = List;
    result.integer = static_cast<int64_t>(tensors.size());
    emit(to, &result);
    for (const auto &tensor : tensors) {
      emit_tensor(tensor, to, emit);
    }
    return;
  }
  if (value.isBool()) {
    result.kind = Bool;
    result.integer = value.toBool() ? 1 : 0;
  } else if (value.isInt()) {
    result.kind = Int;
    result.integer = value.toInt();
  } else if (value.isDouble()) {
    result.kind = Float;
    result.real = value.toDouble();
  } else {
    TORCH_CHECK(value.isNone(), "returns ", value.tagKind(), ", which is not supported");
  }
  emit(to, &result);
}

} // namespace

extern "C" {

// Looks an operator up; its constant arguments are to be set, then completed.
blockflow_call *blockflow_call_new(const char *name, const char *overload, char **error) noexcept {
  return guarded<blockflow_call *>(error, nullptr, [&] {
    auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    TORCH_CHECK(op.has_value(), "libtorch has no operator of this name");
    auto *call = new blockflow_call(std::move(*op));
    const size_t count = call->op.schema().arguments().size();
    call->arguments.resize(count);
    call->given.resize(count, false);
    return call;
  });
}

void blockflow_call_free(blockflow_call *call) noexcept { delete call; }

bool blockflow_call_set(blockflow_call *call, size_t place, const blockflow_value *value, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    set(*call, place, *value);
    return true;
  });
}

bool blockflow_call_set_named(blockflow_call *call, const char *name, const blockflow_value *value,
                              char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    auto place = call->op.schema().argumentIndexWithName(name);
    TORCH_CHECK(place.has_value(), "has no argument ", name);
    set(*call, static_cast<size_t>(*place), *value);
    return true;
  });
}

// Fills what was not given from the schema.
bool blockflow_call_complete(blockflow_call *call, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    const auto &arguments = call->op.schema().arguments();
    for (size_t place = 0; place < arguments.size(); ++place) {
      if (call->given[place]) {
        continue;
      }
      TORCH_CHECK(!is_written(arguments[place]), "argument ", arguments[place].name(), " is written to");
      TORCH_CHECK(arguments[place].default_value().has_value(), "argument ", arguments[place].name(), " is missing");
      call->arguments[place] = *arguments[place].default_value();
    }
    return true;
  });
}

// Calls the operator and hands each result to `emit`, which owns the tensor in it. An input that is null is absent.
// `written` is null unless the call writes.
bool blockflow_call_run(const blockflow_call *call, at::Tensor *written, const at::Tensor *const *inputs, size_t count,
                        void *to, Emit emit, char **error) noexcept {
  return guarded<bool>(error, false, [&] {
    TORCH_CHECK(call->has_written == (written != nullptr), "the tensor to write to does not fit the call");
    auto stack = stack_of(*call, inputs, count);
    if (written != nullptr) {
      stack[call->written] = *written;
    }
    call->op.callBoxed(stack);
    for (const auto &value : stack) {
      emit_value(value, to, emit);
    }
    return true;
  });
}

} // extern "C"
