// What we declare of NVRTC, the CUDA driver and NCCL says the same as the vendors' headers, where those are installed:
// values, prototypes (an enum counts as an int, a pointer to a struct as a pointer) and the layouts of structs.
#include <gtest/gtest.h>

#include <type_traits>

#include "codegen/cuda/nvrtc.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/nccl.h"

// The vendors' headers make macros of some of the names: what ours are is noted before.
namespace weft::ours {
#define CU_VALUE(name, value) constexpr int value_##name = cu::name;
#define CU_FUNCTION(name, parameters) using type_##name = decltype(cu::Driver::name);
#include "runtime/cuda/driver.def"
#define NVRTC_VALUE(name, value) constexpr int value_##name = nvrtc_api::name;
#define NVRTC_FUNCTION(result, name, parameters) using type_##name = decltype(Nvrtc::name);
#include "codegen/cuda/nvrtc.def"
#define NCCL_VALUE(name, value) constexpr int value_##name = nccl_api::name;
#define NCCL_FUNCTION(result, name, parameters) using type_##name = decltype(nccl_api::Nccl::name);
#include "runtime/cuda/nccl.def"
}  // namespace weft::ours

#if __has_include(<cuda.h>)
#include <cuda.h>
#define WEFT_HAS_CUDA_H
#endif
#if __has_include(<nvrtc.h>)
#include <nvrtc.h>
#define WEFT_HAS_NVRTC_H
#endif
#if __has_include(<nccl.h>) && __has_include(<cuda_runtime.h>)
#include <nccl.h>
#define WEFT_HAS_NCCL_H
#endif

namespace weft {

namespace {

template <size_t N>
struct Bytes {};  // a struct passed by value

template <class T>
struct Plain {
  template <class U>
  static auto of() {
    if constexpr (std::is_enum_v<U>) return std::type_identity<int>{};
    else if constexpr (std::is_class_v<U> || std::is_union_v<U>) return std::type_identity<Bytes<sizeof(U)>>{};
    else return std::type_identity<U>{};
  }
  using type = typename decltype(of<std::remove_cv_t<T>>())::type;
};
template <class T>
struct Plain<T*> {
  template <class U>
  static auto of() {
    if constexpr (std::is_function_v<U> || std::is_class_v<U> || std::is_union_v<U>) return std::type_identity<void*>{};
    else return std::type_identity<typename Plain<U>::type*>{};
  }
  using type = typename decltype(of<std::remove_cv_t<T>>())::type;
};
template <class T>
struct Plain<T* const> : Plain<T*> {};
template <class R, class... A>
struct Plain<R (*)(A...)> {
  using type = typename Plain<R>::type (*)(typename Plain<std::remove_cv_t<A>>::type...);
};

template <class A, class B>
constexpr bool alike = std::is_same_v<typename Plain<A>::type, typename Plain<B>::type>;

static_assert(alike<int (*)(const char*, size_t), int (*)(char*, size_t)>);
static_assert(!alike<int (*)(char*, int), int (*)(char*, size_t)>);
static_assert(!alike<int (*)(int), int (*)(int*)>);

}  // namespace

#define SAME_VALUE(name, value) EXPECT_EQ(ours::value_##name, static_cast<int>(name)) << #name;
#define SAME_TYPE(name, parameters) EXPECT_TRUE((alike<ours::type_##name, decltype(&::name)>)) << #name;
#define SAME_TYPE_OF(result, name, parameters) EXPECT_TRUE((alike<ours::type_##name, decltype(&::name)>)) << #name;
#define SAME_FIELD(ours, theirs, field) EXPECT_EQ(offsetof(ours, field), offsetof(theirs, field)) << #ours "." #field

TEST(CudaDeclarations, Driver) {
#ifndef WEFT_HAS_CUDA_H
  GTEST_SKIP() << "cuda.h is not installed";
#else
#define CU_VALUE SAME_VALUE
#define CU_FUNCTION SAME_TYPE
#include "runtime/cuda/driver.def"
#define SAME_SIZE(type) EXPECT_EQ(sizeof(cu::type), sizeof(::type)) << #type
  SAME_SIZE(CUuuid);
  SAME_SIZE(CUipcMemHandle);
  SAME_SIZE(CUmemLocation);
  SAME_SIZE(CUmemAllocationProp);
  SAME_SIZE(CUmemAccessDesc);
  SAME_SIZE(CUlaunchAttributeValue);
  SAME_SIZE(CUlaunchAttribute);
  SAME_SIZE(CUlaunchConfig);
  SAME_SIZE(CUDA_KERNEL_NODE_PARAMS);
  SAME_SIZE(CUgraphExecUpdateResultInfo);
#undef SAME_SIZE
  SAME_FIELD(cu::CUmemLocation, ::CUmemLocation, id);
  SAME_FIELD(cu::CUmemAllocationProp, ::CUmemAllocationProp, location);
  SAME_FIELD(cu::CUmemAllocationProp, ::CUmemAllocationProp, win32HandleMetaData);
  SAME_FIELD(cu::CUmemAllocationProp, ::CUmemAllocationProp, allocFlags);
  SAME_FIELD(cu::CUmemAccessDesc, ::CUmemAccessDesc, flags);
  SAME_FIELD(cu::CUlaunchAttribute, ::CUlaunchAttribute, value);
  SAME_FIELD(cu::CUlaunchConfig, ::CUlaunchConfig, blockDimZ);
  SAME_FIELD(cu::CUlaunchConfig, ::CUlaunchConfig, sharedMemBytes);
  SAME_FIELD(cu::CUlaunchConfig, ::CUlaunchConfig, hStream);
  SAME_FIELD(cu::CUlaunchConfig, ::CUlaunchConfig, attrs);
  SAME_FIELD(cu::CUlaunchConfig, ::CUlaunchConfig, numAttrs);
  SAME_FIELD(cu::CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS, gridDimX);
  SAME_FIELD(cu::CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS, sharedMemBytes);
  SAME_FIELD(cu::CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS, kernelParams);
  SAME_FIELD(cu::CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS, kern);
  SAME_FIELD(cu::CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS, ctx);
  SAME_FIELD(cu::CUgraphExecUpdateResultInfo, ::CUgraphExecUpdateResultInfo, errorFromNode);
#endif
}

TEST(CudaDeclarations, Nvrtc) {
#ifndef WEFT_HAS_NVRTC_H
  GTEST_SKIP() << "nvrtc.h is not installed";
#else
#define NVRTC_VALUE SAME_VALUE
#define NVRTC_FUNCTION SAME_TYPE_OF
#include "codegen/cuda/nvrtc.def"
#endif
}

TEST(CudaDeclarations, Nccl) {
#ifndef WEFT_HAS_NCCL_H
  GTEST_SKIP() << "nccl.h is not installed";
#else
#define NCCL_VALUE SAME_VALUE
#define NCCL_FUNCTION SAME_TYPE_OF
#include "runtime/cuda/nccl.def"
  EXPECT_EQ(sizeof(nccl_api::ncclUniqueId), sizeof(::ncclUniqueId));
  EXPECT_LE(sizeof(nccl_api::ncclConfig_t), sizeof(::ncclConfig_t));  // ours are the fields of 2.18
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, magic);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, version);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, blocking);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, maxCTAs);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, netName);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, splitShare);
  ::ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  EXPECT_EQ(nccl_api::ncclConfig_t().magic, theirs.magic);
  EXPECT_EQ(nccl_api::ncclConfig_t().blocking, theirs.blocking);
#endif
}

// Whether they are there or not, the answer is a value: a library, or an Error that says what to do.
TEST(CudaLibraries, OpenOrSayWhatIsMissing) {
  auto driver = cuda_driver();
  if (driver.ok()) EXPECT_GE((*driver)->version, 12000);
  else EXPECT_FALSE(driver.error().message.empty() || driver.error().hint.empty()) << driver.error().to_string();
  auto devices = cuda_devices();
  EXPECT_EQ(devices.ok(), driver.ok());
  auto compiler = nvrtc();
  if (compiler.ok()) EXPECT_GE((*compiler)->major, 12);
  else EXPECT_FALSE(compiler.error().hint.empty()) << compiler.error().to_string();
  auto collectives = nccl();
  if (collectives.ok()) EXPECT_GE((*collectives)->version, 21800);
  else EXPECT_FALSE(collectives.error().hint.empty()) << collectives.error().to_string();
  EXPECT_NE(cuda_error(cu::CUDA_ERROR_OUT_OF_MEMORY, "allocating").message.find("allocating: "), std::string::npos);
  EXPECT_EQ(cuda_error(cu::CUDA_ERROR_OUT_OF_MEMORY, "allocating").code, Code::kResources);
  EXPECT_EQ(cuda_error(cu::CUDA_ERROR_ILLEGAL_ADDRESS, "running").code, Code::kDevice);
  EXPECT_TRUE(is_sticky(cu::CUDA_ERROR_ILLEGAL_ADDRESS) && !is_sticky(cu::CUDA_ERROR_OUT_OF_MEMORY));
}

}  // namespace weft
