# the server
export A=1
exec vllm serve /checkpoint --served-model-name llama --port 8000 --tensor-parallel-size 8
