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
#define SAME_FIELD(ours, theirs, field)                                                                               \
  EXPECT_TRUE(offsetof(ours, field) == offsetof(theirs, field) && sizeof(((ours*)nullptr)->field) == sizeof(((theirs*)nullptr)->field)) \
      << #ours "." #field

TEST(CudaDeclarations, Driver) {
#ifndef WEFT_HAS_CUDA_H
  GTEST_SKIP() << "cuda.h is not installed";
#else
#define CU_VALUE SAME_VALUE
#define CU_FUNCTION SAME_TYPE
#include "runtime/cuda/driver.def"
// Every field of every struct of driver.h.
#define STRUCT(type) EXPECT_EQ(sizeof(cu::type), sizeof(::type)) << #type
#define FIELD(type, field) SAME_FIELD(cu::type, ::type, field)
  STRUCT(CUuuid);
  FIELD(CUuuid, bytes);
  STRUCT(CUipcMemHandle);
  FIELD(CUipcMemHandle, reserved);
  STRUCT(CUmemLocation);
  FIELD(CUmemLocation, type);
  FIELD(CUmemLocation, id);
  STRUCT(CUmemAllocationProp);
  FIELD(CUmemAllocationProp, type);
  FIELD(CUmemAllocationProp, requestedHandleTypes);
  FIELD(CUmemAllocationProp, location);
  FIELD(CUmemAllocationProp, win32HandleMetaData);
  FIELD(CUmemAllocationProp, allocFlags.compressionType);
  FIELD(CUmemAllocationProp, allocFlags.gpuDirectRDMACapable);
  FIELD(CUmemAllocationProp, allocFlags.usage);
  FIELD(CUmemAllocationProp, allocFlags.reserved);
  STRUCT(CUmemAccessDesc);
  FIELD(CUmemAccessDesc, location);
  FIELD(CUmemAccessDesc, flags);
  STRUCT(CUDA_MEMCPY2D);
  FIELD(CUDA_MEMCPY2D, srcXInBytes);
  FIELD(CUDA_MEMCPY2D, srcY);
  FIELD(CUDA_MEMCPY2D, srcMemoryType);
  FIELD(CUDA_MEMCPY2D, srcHost);
  FIELD(CUDA_MEMCPY2D, srcDevice);
  FIELD(CUDA_MEMCPY2D, srcArray);
  FIELD(CUDA_MEMCPY2D, srcPitch);
  FIELD(CUDA_MEMCPY2D, dstXInBytes);
  FIELD(CUDA_MEMCPY2D, dstY);
  FIELD(CUDA_MEMCPY2D, dstMemoryType);
  FIELD(CUDA_MEMCPY2D, dstHost);
  FIELD(CUDA_MEMCPY2D, dstDevice);
  FIELD(CUDA_MEMCPY2D, dstArray);
  FIELD(CUDA_MEMCPY2D, dstPitch);
  FIELD(CUDA_MEMCPY2D, WidthInBytes);
  FIELD(CUDA_MEMCPY2D, Height);
  STRUCT(CUlaunchAttributeValue);
  FIELD(CUlaunchAttributeValue, pad);
  FIELD(CUlaunchAttributeValue, clusterDim.x);
  FIELD(CUlaunchAttributeValue, clusterDim.y);
  FIELD(CUlaunchAttributeValue, clusterDim.z);
  FIELD(CUlaunchAttributeValue, cooperative);
  FIELD(CUlaunchAttributeValue, programmaticStreamSerializationAllowed);
  FIELD(CUlaunchAttributeValue, priority);
  STRUCT(CUlaunchAttribute);
  FIELD(CUlaunchAttribute, id);
  FIELD(CUlaunchAttribute, pad);
  FIELD(CUlaunchAttribute, value);
  STRUCT(CUlaunchConfig);
  FIELD(CUlaunchConfig, gridDimX);
  FIELD(CUlaunchConfig, gridDimY);
  FIELD(CUlaunchConfig, gridDimZ);
  FIELD(CUlaunchConfig, blockDimX);
  FIELD(CUlaunchConfig, blockDimY);
  FIELD(CUlaunchConfig, blockDimZ);
  FIELD(CUlaunchConfig, sharedMemBytes);
  FIELD(CUlaunchConfig, hStream);
  FIELD(CUlaunchConfig, attrs);
  FIELD(CUlaunchConfig, numAttrs);
  STRUCT(CUDA_KERNEL_NODE_PARAMS);
  FIELD(CUDA_KERNEL_NODE_PARAMS, func);
  FIELD(CUDA_KERNEL_NODE_PARAMS, gridDimX);
  FIELD(CUDA_KERNEL_NODE_PARAMS, gridDimY);
  FIELD(CUDA_KERNEL_NODE_PARAMS, gridDimZ);
  FIELD(CUDA_KERNEL_NODE_PARAMS, blockDimX);
  FIELD(CUDA_KERNEL_NODE_PARAMS, blockDimY);
  FIELD(CUDA_KERNEL_NODE_PARAMS, blockDimZ);
  FIELD(CUDA_KERNEL_NODE_PARAMS, sharedMemBytes);
  FIELD(CUDA_KERNEL_NODE_PARAMS, kernelParams);
  FIELD(CUDA_KERNEL_NODE_PARAMS, extra);
  FIELD(CUDA_KERNEL_NODE_PARAMS, kern);
  FIELD(CUDA_KERNEL_NODE_PARAMS, ctx);
  STRUCT(CUgraphExecUpdateResultInfo);
  FIELD(CUgraphExecUpdateResultInfo, result);
  FIELD(CUgraphExecUpdateResultInfo, errorNode);
  FIELD(CUgraphExecUpdateResultInfo, errorFromNode);
#undef FIELD
#undef STRUCT
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
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, size);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, magic);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, version);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, blocking);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, cgaClusterSize);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, minCTAs);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, maxCTAs);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, netName);
  SAME_FIELD(nccl_api::ncclConfig_t, ::ncclConfig_t, splitShare);
  ::ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  EXPECT_EQ(nccl_api::ncclConfig_t().magic, theirs.magic);
  EXPECT_EQ(nccl_api::ncclConfig_t().blocking, theirs.blocking);
  EXPECT_EQ(nccl_api::kSplitNoColor, NCCL_SPLIT_NOCOLOR);
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
