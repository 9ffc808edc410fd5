#!/bin/bash
# A corpus on a Slurm cluster: sbatch slurm.sh DIR, where corpus plan made DIR on a shared disk.
# Task K of N does shards K, K + N, K + 2N and so on. A task that is queued again goes on where it was:
# shards that are done are not done again. With --claims behind DIR, shards are taken by whoever is free.
#SBATCH --job-name=corpus
#SBATCH --array=0-63
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60
set -eu
exec npx funasr-webgpu corpus work "$1"
