import "funasr-webgpu/worker";
