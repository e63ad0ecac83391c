{
  "targets": [
    {
      "target_name": "berth",
      "sources": ["<!@(ls *.c)"],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-std=c11", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"],
      "ldflags": ["-pthread", "-Wl,-z,relro,-z,now"],
      "configurations": {
        "Release": {
          "cflags!": ["-O3", "-fno-omit-frame-pointer"],
          "cflags": ["-O2"]
        }
      }
    }
  ]
}
