// The CUDA driver, opened at run time: declared by us and neither linked nor included, so that weft starts without it. The
// types are what the driver's ABI says (tests compare them with cuda.h where that is installed); its enums are plain ints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ir/base/result.h"

namespace weft {

namespace cu {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUmemGenericAllocationHandle = unsigned long long;
using CUcontext = struct ContextHandle*;
using CUmodule = struct ModuleHandle*;
using CUlibrary = struct LibraryHandle*;
using CUkernel = struct KernelHandle*;
using CUfunction = struct FunctionHandle*;
using CUstream = struct StreamHandle*;
using CUevent = struct EventHandle*;
using CUgraph = struct GraphHandle*;
using CUgraphNode = struct GraphNodeHandle*;
using CUgraphExec = struct GraphExecHandle*;
using CUhostFn = void (*)(void* data);

using CUdevice_attribute = int;
using CUdevice_P2PAttribute = int;
using CUpointer_attribute = int;
using CUfunction_attribute = int;
using CUjit_option = int;
using CUlibraryOption = int;
using CUstreamCaptureMode = int;
using CUstreamCaptureStatus = int;
using CUgraphNodeType = int;
using CUmemAllocationGranularity_flags = int;

struct CUuuid {
  char bytes[16];
};
struct CUipcMemHandle {
  char reserved[64];
};

struct CUmemLocation {
  int type = 0;
  int id = 0;
};
struct CUmemAllocationProp {
  int type = 0;
  int requestedHandleTypes = 0;
  CUmemLocation location;
  void* win32HandleMetaData = nullptr;
  struct {
    unsigned char compressionType = 0;
    unsigned char gpuDirectRDMACapable = 0;
    unsigned short usage = 0;
    unsigned char reserved[4] = {};
  } allocFlags;
};
struct CUmemAccessDesc {
  CUmemLocation location;
  int flags = 0;
};

struct CUDA_MEMCPY2D {
  size_t srcXInBytes = 0, srcY = 0;
  int srcMemoryType = 0;
  const void* srcHost = nullptr;
  CUdeviceptr srcDevice = 0;
  void* srcArray = nullptr;
  size_t srcPitch = 0;
  size_t dstXInBytes = 0, dstY = 0;
  int dstMemoryType = 0;
  void* dstHost = nullptr;
  CUdeviceptr dstDevice = 0;
  void* dstArray = nullptr;
  size_t dstPitch = 0;
  size_t WidthInBytes = 0, Height = 0;
};

union CUlaunchAttributeValue {
  char pad[64];
  struct {
    unsigned x, y, z;
  } clusterDim;
  int cooperative;
  int programmaticStreamSerializationAllowed;
  int priority;
};
struct CUlaunchAttribute {
  int id;
  char pad[4];
  CUlaunchAttributeValue value;
};
struct CUlaunchConfig {
  unsigned gridDimX = 1, gridDimY = 1, gridDimZ = 1;
  unsigned blockDimX = 1, blockDimY = 1, blockDimZ = 1;
  unsigned sharedMemBytes = 0;
  CUstream hStream = nullptr;
  CUlaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};
struct CUDA_KERNEL_NODE_PARAMS {
  CUfunction func = nullptr;
  unsigned gridDimX = 1, gridDimY = 1, gridDimZ = 1;
  unsigned blockDimX = 1, blockDimY = 1, blockDimZ = 1;
  unsigned sharedMemBytes = 0;
  void** kernelParams = nullptr;
  void** extra = nullptr;
  CUkernel kern = nullptr;
  CUcontext ctx = nullptr;
};
struct CUgraphExecUpdateResultInfo {
  int result = 0;
  CUgraphNode errorNode = nullptr;
  CUgraphNode errorFromNode = nullptr;
};

enum : int {
#define CU_VALUE(name, value) name = value,
#include "runtime/cuda/driver.def"
};

// "13.0" of 13000.
inline std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

struct Driver {
#define CU_FUNCTION(name, parameters) CUresult(*name) parameters = nullptr;
#include "runtime/cuda/driver.def"
  std::string path;  // of the library
  int version = 0;   // of CUDA, as 13000 for 13.0

  std::string version_text() const { return cu::version_text(version); }
};

}  // namespace cu

// Opened and initialised once per process; a failure is remembered, too. Error kUnsupported when there is no driver or it
// is too old, kDevice when it has no device or does not start.
Result<const cu::Driver*> cuda_driver();

// The Error of a driver call that did not succeed: kResources for a lack of memory, else kDevice. `doing`: "allocating 3 MiB
// for weights".
Error cuda_error(cu::CUresult result, const std::string& doing);
// After it every call in the context fails: the process can only give the device up.
bool is_sticky(cu::CUresult result);

#define CU_TRY(call, doing)                                                    \
  do {                                                                         \
    if (::weft::cu::CUresult cu_result_ = (call); cu_result_ != ::weft::cu::CUDA_SUCCESS) \
      return ::weft::cuda_error(cu_result_, doing);                            \
  } while (0)

}  // namespace weft
