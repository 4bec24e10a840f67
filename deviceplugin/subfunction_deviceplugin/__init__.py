"""The program that offers sub-functions to the kubelet."""
