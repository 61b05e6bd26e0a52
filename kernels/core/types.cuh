// Element types. The names are those of the IR's dtypes. f32, f64 and the integers are the language's own types; a narrow
// float is a struct of its bits, so that nothing computes with it by accident. In registers narrow floats are float and
// bool is bool (ValueOf); sub-byte types lie one element a byte.
//
// Device headers include nothing but each other, and everything in them is in namespace weft, kernels included.
#pragma once

#define WEFT_FN __device__ __forceinline__

namespace weft {

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

struct f16 { u16 bits; };
struct bf16 { u16 bits; };
struct f8e4m3fn { u8 bits; };
struct f8e4m3fnuz { u8 bits; };
struct f8e5m2 { u8 bits; };
struct f8e5m2fnuz { u8 bits; };
struct f8e8m0 { u8 bits; };
struct f4e2m1 { u8 bits; };
struct b1 { u8 bits; };
struct i4 { i8 bits; };
struct i2 { i8 bits; };
struct u4 { u8 bits; };
struct u2 { u8 bits; };
// Complex numbers are only moved.
struct c64 { u64 bits; };
struct alignas(16) c128 { u64 re, im; };

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;

template <class T> struct ValueOf { typedef T type; };
template <> struct ValueOf<f16> { typedef f32 type; };
template <> struct ValueOf<bf16> { typedef f32 type; };
template <> struct ValueOf<f8e4m3fn> { typedef f32 type; };
template <> struct ValueOf<f8e4m3fnuz> { typedef f32 type; };
template <> struct ValueOf<f8e5m2> { typedef f32 type; };
template <> struct ValueOf<f8e5m2fnuz> { typedef f32 type; };
template <> struct ValueOf<f8e8m0> { typedef f32 type; };
template <> struct ValueOf<f4e2m1> { typedef f32 type; };
template <> struct ValueOf<b1> { typedef bool type; };
template <> struct ValueOf<i4> { typedef i8 type; };
template <> struct ValueOf<i2> { typedef i8 type; };
template <> struct ValueOf<u4> { typedef u8 type; };
template <> struct ValueOf<u2> { typedef u8 type; };
template <class T> using Value = typename ValueOf<T>::type;

WEFT_FN f32 as_f32(u32 x) { return __uint_as_float(x); }
WEFT_FN u32 as_u32(f32 x) { return __float_as_uint(x); }

}  // namespace weft
